"""A third party's adapter in a worker, which is sent what the adapter needs of this package."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.worker.client import launch

X = {"x": np.arange(-2, 2, dtype=np.float32)}


@pytest.fixture
def relu(tmp_path):
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
    )
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, ir_version=8, opset_imports=opsets), tmp_path / "relu.onnx")
    return str(tmp_path / "relu.onnx")


def run(adapter, artifact):
    """Return what it says of itself, and its outputs."""
    module = f"third_party_adapters:{adapter}"
    fields = {"backend_module": module, "artifact": artifact, "options": {}}
    with launch(modules=[module]) as worker:
        opened = worker.call("open", fields).fields
        return opened, worker.call("infer", {}, X).arrays


def test_one_that_is_built_on_ours(mark, relu):
    pytest.importorskip("onnxruntime")
    opened, outputs = run("OneThread", relu)
    np.testing.assert_array_equal(outputs["y"], np.maximum(X["x"], 0))
    described = opened["ran"]
    assert (described["by"], described["intra_op_num_threads"]) == ("a third party", 1)


def test_one_whose_module_holds_its_backend_info(mark):
    opened, outputs = run("Named", "none")
    np.testing.assert_array_equal(outputs["x"], X["x"] * 2)
    assert opened["ran"]["backend"] == "doubled"
