"""Binding, and the replay of fixed buffers: ONNX Runtime itself, with the host as the device.

What a GPU adds to this is in test_ort_cuda.py.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.ort_binding import Device, bind, can_bind
from pytest_inferbench.backends.ort_graphs import CudaGraphs
from pytest_inferbench.errors import InferbenchError

ort = pytest.importorskip("onnxruntime")
HOST = Device("cpu")
X, Y = (TensorSpec(name, "float32", ("n", "m")) for name in "xy")


@pytest.fixture
def session(tmp_path):
    x, y = (
        helper.make_tensor_value_info(each.name, TensorProto.FLOAT, each.shape) for each in (X, Y)
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "relu.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def full(value, *shape):
    return np.full(shape, value, np.float32)


def test_bound_tensors_are_used_and_made(session):
    binding, values = bind(ort, session, {X: full(2, 1, 3)}, [Y], HOST)
    session.run_with_iobinding(binding)
    assert binding.get_outputs()[0].numpy().tolist() == [[2, 2, 2]]
    values["x"].update_inplace(full(5, 1, 3))
    session.run_with_iobinding(binding)
    assert binding.get_outputs()[0].numpy().tolist() == [[5, 5, 5]]


def test_a_graph_is_captured_for_each_shape_and_takes_new_values(session):
    graphs = CudaGraphs(ort, session, [X], [Y], HOST)
    kept = []
    for value, shape in ((1, (1, 3)), (2, (1, 3)), (3, (2, 2)), (-4, (1, 3)), (5, (2, 2))):
        kept.append((max(value, 0), graphs.infer({"x": full(value, *shape)})["y"].copy()))
    assert len(graphs._captured) == 2
    assert all((y == expected).all() for expected, y in kept)


def test_each_prepared_input_has_buffers_of_its_own(session):
    graphs = CudaGraphs(ort, session, [X], [Y], HOST)
    given = [full(value, 1, 2) for value in (1, 2)]
    runs = [graphs.prepare({"x": each}) for each in given]
    graphs.infer({"x": full(9, 1, 2)})
    assert graphs.prepare({"x": given[0].copy()}) is runs[0]
    assert graphs.prepare({"x": given[0].reshape(2, 1)}) is not runs[0]
    for run in runs:
        run()
    outputs = [captured.outputs["y"].numpy().tolist() for captured in graphs._captured.values()]
    assert outputs[:2] == [[[1, 1]], [[2, 2]]]


@pytest.mark.parametrize("dtype", ["bfloat16", "string"])
def test_types_that_a_graph_cannot_have_are_refused(session, dtype):
    with pytest.raises(InferbenchError, match=dtype) as caught:
        CudaGraphs(ort, session, [TensorSpec("x", dtype, None)], [Y], HOST)
    assert caught.value.code == "IB-331"


def test_what_fails_to_be_captured_is_named(session):
    wrong = TensorSpec("y", "int64", ("n", "m"))  # the buffer will not do for the output
    graphs = CudaGraphs(ort, session, [X], [wrong], HOST)
    with pytest.raises(InferbenchError, match="could not capture") as caught:
        graphs.infer({"x": full(1, 1, 2)})
    assert caught.value.code == "IB-331"


def test_text_cannot_be_bound():
    assert can_bind([X, Y])
    assert not can_bind([X, TensorSpec("t", "string", None)])
