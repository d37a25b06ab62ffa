"""Types that numpy lacks, through ONNX Runtime itself and through the worker's frames."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.backends.ort_tensors import _packed, _unpacked
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import launch

ort = pytest.importorskip("onnxruntime")
ADAPTER = "pytest_inferbench.backends.ort:OnnxRuntime"


@pytest.fixture
def write(tmp_path):
    def write(nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", 21)]
        path = tmp_path / "tiny.onnx"
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
        return str(path)

    return write


def value(name, dtype, shape=("a", "n")):
    return helper.make_tensor_value_info(name, dtype, shape)


def opened(artifact):
    backend = OnnxRuntime()
    backend.open(artifact, {"intra_op_num_threads": 1}, "fp32")
    return backend


def bits_of_bfloat16(array):
    return (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_bfloat16_comes_and_goes_as_its_bits(write):
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Identity", ["x"], ["same"])]
    outputs = [value("y", TensorProto.FLOAT), value("same", TensorProto.BFLOAT16)]
    backend = opened(write(nodes, [value("x", TensorProto.BFLOAT16)], outputs))
    assert backend.inputs[0] == TensorSpec("x", "bfloat16", ("a", "n"))
    x = bits_of_bfloat16(np.array([[1.5, -2.0, np.inf, 0.0]]))
    given = backend.infer({"x": x})
    np.testing.assert_array_equal(given["y"], [[1.5, -2.0, np.inf, 0.0]])
    np.testing.assert_array_equal(given["same"], x)
    assert given["same"].dtype == np.uint16
    assert not np.shares_memory(given["same"], x)
    assert backend.infer({"x": x[:, :0]})["same"].shape == (1, 0)
    backend.prepare({"x": x})()
    for wrong in (x.astype(np.float32), x.view(np.float16), x.view(np.int16)):
        with pytest.raises(InferbenchError, match="carried as uint16") as caught:
            backend.infer({"x": wrong})
        assert caught.value.code == "IB-321"


@pytest.mark.parametrize("name", ["E4M3FN", "E5M2", "E4M3FNUZ", "E5M2FNUZ"])
def test_float8_comes_and_goes_as_its_bits(write, name):
    dtype = getattr(TensorProto, f"FLOAT8{name}")
    node = helper.make_node("Identity", ["x"], ["y"])
    backend = opened(write([node], [value("x", dtype)], [value("y", dtype)]))
    assert backend.inputs[0].dtype == f"float8_{name.lower()}"
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    y = backend.infer({"x": x})["y"]
    np.testing.assert_array_equal(y, x)
    assert y.dtype == np.uint8


def test_float16_is_numpys_own(write):
    node = helper.make_node("Identity", ["x"], ["y"])
    dtype = TensorProto.FLOAT16
    backend = opened(write([node], [value("x", dtype)], [value("y", dtype)]))
    x = np.array([[1.5, np.nan]], np.float16)
    np.testing.assert_array_equal(backend.infer({"x": x})["y"], x)


@pytest.mark.parametrize(("name", "low", "high"), [("int4", -8, 7), ("uint4", 0, 15)])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_four_bits_come_and_go_as_one_value_each(write, name, low, high, count):
    dtype = getattr(TensorProto, name.upper())
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])
    zero = helper.make_tensor("z", dtype, [], [0])
    nodes = [helper.make_node("DequantizeLinear", ["x", "s"], ["y"])]
    nodes += [helper.make_node("QuantizeLinear", ["y", "s", "z"], ["q"])]
    outputs = [value("y", TensorProto.FLOAT), value("q", dtype)]
    backend = opened(write(nodes, [value("x", dtype)], outputs, [scale, zero]))
    x = np.linspace(low, high, count).round().astype(name.replace("4", "8")).reshape(1, count)
    given = backend.infer({"x": x})
    np.testing.assert_array_equal(given["y"], x)
    np.testing.assert_array_equal(given["q"], x)
    assert given["q"].dtype == x.dtype
    if count:
        with pytest.raises(InferbenchError, match=f"beyond {low} to {high}") as caught:
            backend.infer({"x": np.full_like(x, 16)})
        assert caught.value.code == "IB-334"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-8, 7), max_size=9))
def test_packing_is_undone_by_unpacking(values):
    array = np.array(values, np.int8)
    data = _packed(TensorSpec("x", "int4", None), array)[: (array.size + 1) // 2]
    np.testing.assert_array_equal(_unpacked(data, array.size, np.dtype(np.int8)), array)


@pytest.mark.parametrize(
    "x",
    [
        np.array([["a", "bé"], ["", "long text"]]),
        np.array([["a", "bé"], ["", "long text"]], dtype=object),
        np.char.encode(np.array([["a", "bé"], ["", "long text"]]), "utf-8"),
    ],
    ids=["text", "objects", "bytes"],
)
def test_text_comes_as_any_and_goes_as_numpys(write, x):
    node = helper.make_node("Identity", ["x"], ["y"])
    dtype = TensorProto.STRING
    backend = opened(write([node], [value("x", dtype)], [value("y", dtype)]))
    assert backend.inputs[0].dtype == "string"
    y = backend.infer({"x": x})["y"]
    assert y.dtype.kind == "U"
    assert y.tolist() == [["a", "bé"], ["", "long text"]]
    backend.prepare({"x": x})()
    with pytest.raises(InferbenchError, match="is float64, not string"):
        backend.infer({"x": np.ones((1, 1))})


def test_text_and_bits_pass_through_a_worker(write):
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("t", "u"), ("x", "y"))]
    text, half = TensorProto.STRING, TensorProto.FLOAT16
    artifact = write(
        nodes, [value("t", text), value("x", half)], [value("u", text), value("y", half)]
    )
    with launch(modules=[ADAPTER]) as worker:
        worker.call("open", {"backend_module": ADAPTER, "artifact": artifact})
        arrays = {"t": np.array([["é", ""]]), "x": np.ones((1, 2), np.float16)}
        given = worker.call("infer", {}, arrays).arrays
    assert given["u"].tolist() == [["é", ""]]
    assert given["y"].dtype == np.float16


def test_text_beside_bits_is_a_named_error(write):
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("t", "u"), ("x", "y"))]
    text, bits = TensorProto.STRING, TensorProto.BFLOAT16
    artifact = write(
        nodes, [value("t", text), value("x", bits)], [value("u", text), value("y", bits)]
    )
    with pytest.raises(InferbenchError, match="along with text") as caught:
        opened(artifact).infer({"t": np.array([["a"]]), "x": np.ones((1, 1), np.uint16)})
    assert caught.value.code == "IB-334"


def test_what_is_no_tensor_is_a_named_error(write):
    node = helper.make_node("SequenceLength", ["many"], ["y"])
    many = helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, None)
    artifact = write([node], [many], [value("y", TensorProto.INT64, ())])
    with pytest.raises(InferbenchError, match=r"input 'many' is seq\(tensor\(float\)\)") as caught:
        opened(artifact)
    assert caught.value.code == "IB-330"


@pytest.mark.parametrize("shape", [(), (2,), (1, 2, 3)])
def test_an_unknown_rank_takes_any(write, shape):
    node = helper.make_node("Relu", ["x"], ["y"])
    dtype = TensorProto.FLOAT
    backend = opened(write([node], [value("x", dtype, None)], [value("y", dtype, None)]))
    assert backend.infer({"x": np.full(shape, -1, np.float32)})["y"].shape == shape
