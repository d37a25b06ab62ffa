"""Questions about real cells of ONNX Runtime: what is asked of which, and what is counted."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from pytest_inferbench.backends.contract import Backend, TensorSpec
from pytest_inferbench.conformance.build import Build
from pytest_inferbench.conformance.contract import Contract, NotAsked, _made_finite
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate

SETTINGS = """
cache = "cache"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = SAMPLES
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32"]
"""


@pytest.fixture
def run_of(tmp_path):
    """Open a model of one operator on ONNX Runtime."""
    gates = []

    def run_of(op="Relu", shape=("n", 3), element=TensorProto.FLOAT, samples=3):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node(op, ["x"], ["y"])],
            "net",
            [value("x", element, shape)],
            [value("y", TensorProto.INT64 if op == "ArgMax" else element, None)],
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "net.onnx")
        text = SETTINGS.replace("SAMPLES", str(samples))
        (tmp_path / "inferbench.toml").write_text(text)
        gates.append(Gate.from_folder(tmp_path))
        return gates[-1].run_of(gates[-1].cells[0])

    yield run_of
    for gate in gates:
        gate.close()


def test_every_question_has_an_answer_on_a_sound_cell(run_of):
    contract = Contract(run_of("Neg"))
    for question in (
        "repeats",
        "layouts",
        "ownership",
        "threads",
        "batches",
        "empty_batch",
        "non_finite",
    ):
        assert getattr(contract, question)() == [], question
    assert contract.misfits() == []


def test_an_output_that_drifts_or_is_nothing_is_a_fault():
    calls = itertools.count()

    def infer(sample):
        drifting = sample["x"] + np.float32(1e-6) * next(calls)
        return {"same": sample["x"], "drifting": drifting, "nothing": sample["x"][:0]}

    run = SimpleNamespace(inputs=[{"x": np.array([1, np.nan], np.float32)}], infer=infer)
    assert Contract(run).repeats() == ["nothing is empty", "drifting is another the second time"]


def test_batches_are_not_asked_of_a_fixed_first_dimension(run_of):
    contract = Contract(run_of(shape=(1, 3)))
    for question in (contract.batches, contract.empty_batch):
        with pytest.raises(NotAsked, match="input 'x' has no dynamic first dimension"):
            question()


def test_batches_are_not_asked_of_one_sample(run_of):
    with pytest.raises(NotAsked, match="no two samples"):
        Contract(run_of(samples=1)).batches()


def test_nan_is_not_asked_where_it_cannot_be_given_or_cannot_arrive(run_of):
    with pytest.raises(NotAsked, match="no input takes floating-point"):
        Contract(run_of("Neg", element=TensorProto.INT64)).non_finite()
    with pytest.raises(NotAsked, match="outputs stay finite"):
        Contract(run_of("ArgMax")).non_finite()


def test_what_runs_as_it_is_is_not_built_again(run_of):
    with pytest.raises(NotAsked, match="nothing is built"):
        Build(run_of()).again()


FLOATS = hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(0, 4)))


@given(FLOATS)
def test_nothing_is_made_finite_by_the_same(array):
    assert _made_finite(array, array) == (0, int((~np.isfinite(array)).sum()))


@given(FLOATS)
def test_everything_is_by_what_swallows_it(array):
    lost, of = _made_finite(array, np.nan_to_num(array))
    assert lost == of == int((~np.isfinite(array)).sum())
    assert _made_finite(array, np.zeros(array.shape, np.int64)) == (of, of)


def test_more_than_the_reference_s_is_no_fault():
    want, have = np.array([1.0, np.nan]), np.array([np.inf, np.nan])
    assert _made_finite(want, have) == (0, 1)
    assert _made_finite(want, np.array([np.nan])) == (0, 1)


class Doubles(Backend):
    def _open(self, artifact, options, precision):
        return [TensorSpec("x", "float32", ("n", 3))], [TensorSpec("y", "float32", ("n", 3))]

    def _infer(self, inputs):
        return {"y": inputs["x"] * 2}

    def _close(self):
        pass


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool", "uint8"])
def test_no_adapter_is_ever_given_another_type(dtype):
    """Nothing that an adapter does could let one through, so no examination of it is needed."""
    backend = Doubles()
    backend.open("model", {}, "fp32")
    with pytest.raises(InferbenchError, match=f"input 'x' is {dtype}, not float32"):
        backend.infer({"x": np.zeros((2, 3), dtype)})
