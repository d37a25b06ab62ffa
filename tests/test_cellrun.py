"""A cell at work, with real workers: what it gives, and what is said while it takes long."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench import progress
from pytest_inferbench.conformance.contract import Contract
from pytest_inferbench.gate import Gate
from pytest_inferbench.handles import Similarity

SETTINGS = """
cache = "cache"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 3
calibration_samples = 4
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "int8"]
[latency]
runs = 3
seconds = "50 ms"
warmup_floor = "50 ms"
warmup_ceiling = "100 ms"
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0
"""


@pytest.fixture
def gate(tmp_path, save_net):
    """A session of two cells."""
    save_net(tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)
    gate = Gate.from_folder(tmp_path)
    gate.order = tuple(cell.id for cell in gate.cells)
    yield gate
    gate.close()


@pytest.fixture
def announced(gate, monkeypatch):
    """What would be said if it took long."""
    found, announce = [], gate.progress
    monkeypatch.setattr(gate, "progress", lambda what: found.append(what) or announce(what))
    return found


def test_lines_say_which_cell_of_how_many_this_is_and_which_sample(gate, monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "FIRST_WORD_S", 0.0)
    monkeypatch.setattr(progress, "NEXT_WORD_S", 0.0)
    gate.say = lines.append
    second = gate.cells[1]
    assert len(gate.run_of(second).outputs) == 3
    (*_, last) = [line for line in lines if "running its data" in line]
    assert last.startswith(f"cell 2 of 2: {second}: running its data (")
    assert last.endswith("3 of 3 samples)")


def test_building_says_for_which_cell(gate, announced):
    assert gate.run_of(gate.cells[1]).artifact.path
    assert "cell 2 of 2: building net at int8 for ort-cpu" in announced


def test_launches_are_counted_between_them(gate, monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "FIRST_WORD_S", 0.0)
    monkeypatch.setattr(progress, "NEXT_WORD_S", 0.0)
    gate.say = lines.append
    run = gate.run_of(gate.cells[0])
    run.measure(3)
    measuring = [line for line in lines if ": measuring (" in line]
    counted = [re.search(r"run \d of \d", line).group() for line in measuring]
    assert list(dict.fromkeys(counted)) == ["run 1 of 3", "run 2 of 3", "run 3 of 3"]
    lines.clear()
    assert run.outputs
    assert not any("run 3" in line for line in lines)


def test_a_cell_that_the_session_does_not_run_has_no_number(gate):
    gate.order = (gate.cells[1].id,)
    assert gate.nth(gate.cells[0]) == ""
    assert gate.nth(gate.cells[1]) == "cell 1 of 1: "


@pytest.fixture
def bfloat16_gate(tmp_path):
    """A session of one model that gives its product as bfloat16."""
    weight = np.random.default_rng(0).normal(0, 1, (64, 16)).astype(np.float32)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Cast", ["z"], ["y"], to=TensorProto.BFLOAT16),
        ],
        "net",
        [value("x", TensorProto.FLOAT, ["n", 64])],
        [value("y", TensorProto.BFLOAT16, ["n", 16])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)
    gate = Gate.from_folder(tmp_path)
    yield gate, weight
    gate.close()


def test_bfloat16_outputs_are_compared_as_numbers(bfloat16_gate):
    gate, weight = bfloat16_gate
    run = gate.run_of(gate.cells[0])
    for sample, outputs in zip(run.inputs, run.outputs, strict=True):
        assert outputs["y"].dtype == np.float32
        np.testing.assert_allclose(outputs["y"], sample["x"] @ weight, rtol=2**-7)
    for kept, outputs in zip(gate.reference_of("net").outputs, run.outputs, strict=True):
        np.testing.assert_array_equal(kept["y"], outputs["y"])
    compared = Similarity(run).result
    assert compared.cosine == 1.0
    assert compared.worst.null.max < 0.9, "as bits, any two outputs are alike"
    assert Contract(run).batches() == []
