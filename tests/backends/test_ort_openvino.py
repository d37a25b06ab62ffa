"""OpenVINO's provider of ONNX Runtime, where the wheel with it is installed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.errors import InferbenchError

ort = pytest.importorskip("onnxruntime")
OPENVINO, CPU = "OpenVINOExecutionProvider", "CPUExecutionProvider"
if OPENVINO not in ort.get_available_providers():
    pytest.skip("this ONNX Runtime has no OpenVINO provider", allow_module_level=True)


@pytest.fixture
def write(tmp_path):
    def write(op, shape, domain=""):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"], name="first"),
            helper.make_node(op, ["a"], ["b"], name="odd", domain=domain),
            helper.make_node("Relu", ["b"], ["y"], name="last"),
        ]
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
        graph = helper.make_graph(nodes, "g", *([info] for info in infos))
        opsets = [helper.make_opsetid("", 17)]
        opsets += [helper.make_opsetid(domain, 1)] if domain else []
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
        return str(path)

    return write


def opened(artifact, precision="fp32", **options):
    backend = OnnxRuntime()
    backend.open(artifact, {"provider": OPENVINO, **options}, precision)
    return backend


def test_all_nodes_are_openvinos_by_both_ways_of_telling(write):
    backend = opened(write("Sigmoid", (1, 4)), device_type="CPU", intra_op_num_threads=1)
    x = np.array([[-2, 0, 1, 2]], np.float32)
    expected = 1 / (1 + np.exp(-np.maximum(x, 0)))
    np.testing.assert_allclose(backend.infer({"x": x})["y"], expected, rtol=1e-6)
    facts = backend.describe()
    assert facts["provider"] == OPENVINO
    assert facts["provider_options"]["precision"] == "FP32"
    assert facts["provider_options"]["num_of_threads"] == "1"
    assert facts["placement"] == {OPENVINO: 3}
    assert facts["fallback"] == []
    ran = backend.placement({"x": x})
    assert (ran["placement"], ran["fallback"], ran["memcpy_nodes"]) == ({OPENVINO: 3}, [], 0)


def test_a_node_that_openvino_lacks_is_named(write):
    backend = opened(write("Inverse", (1, 2, 2), "com.microsoft"))
    facts = backend.describe()
    assert facts["placement"][CPU] >= 1
    assert "fallback" not in facts
    ran = backend.placement({"x": np.eye(2, dtype=np.float32)[None]})
    assert {"node": "odd", "op": "Inverse", "provider": CPU} in ran["fallback"]
    assert ran["placement"] == facts["placement"]


def test_fp16_on_its_cpu_is_said_to_be_stored_only(write):
    assert "f32" in opened(write("Sigmoid", (1, 4)), "fp16").describe()["emulated"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"provider_options": {"no_such_option": "1"}}, "IB-326"),
        ({"device_type": "GPU.7"}, "IB-324"),
        ({"device_type": "XPU"}, "IB-323"),
        ({"provider_options": {"precision": "FP16"}}, "IB-332"),
    ],
)
def test_what_it_cannot_do_is_refused(write, options, code):
    """For a missing device the runtime hands back a session on the CPU, without an error."""
    with pytest.raises(InferbenchError) as caught:
        opened(write("Sigmoid", (1, 4)), **options)
    assert caught.value.code == code
