"""Providers from a library: ONNX Runtime's own answers to what does not load."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.errors import InferbenchError

ort = pytest.importorskip("onnxruntime")
if not hasattr(ort, "register_execution_provider_library"):
    pytest.skip("this ONNX Runtime knows no plugin providers", allow_module_level=True)


@pytest.fixture
def artifact(tmp_path):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n",)) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", *([t] for t in tensors)
    )
    path = tmp_path / "relu.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
    return str(path)


def refusal(artifact, **options):
    with pytest.raises(InferbenchError) as caught:
        OnnxRuntime().open(artifact, options, "fp32")
    return caught.value


@pytest.mark.parametrize("content", [None, b"not a library"])
def test_a_library_that_does_not_load_is_named(artifact, tmp_path, content):
    library = tmp_path / "libnone.so"
    if content:
        library.write_bytes(content)
    error = refusal(artifact, provider="NoneExecutionProvider", library=str(library))
    assert error.code == "IB-333"
    assert str(library) in error.message
    assert error.hint


def test_a_runtime_without_plugins_is_named(artifact, monkeypatch):
    monkeypatch.delattr(ort, "register_execution_provider_library")
    error = refusal(artifact, provider="NoneExecutionProvider", library="libnone.so")
    assert error.code == "IB-333"
    assert ort.__version__ in error.message


def test_an_unknown_provider_names_those_there_are(artifact):
    error = refusal(artifact, provider="NoneExecutionProvider")
    assert error.code == "IB-324"
    assert "CPUExecutionProvider" in error.hint
    assert "`library`" in error.hint


@pytest.fixture
def library():
    plugin = pytest.importorskip("onnxruntime_ep_openvino", reason="no plugin provider installed")
    return plugin.get_library_path()


def test_a_loaded_library_without_a_device_here_is_named(artifact, library):
    if any(each.ep_name == "NoneExecutionProvider" for each in ort.get_ep_devices()):
        pytest.skip("there is such a device")
    options = {"library": library, "library_name": "openvino"}
    error = refusal(artifact, provider="NoneExecutionProvider", **options)
    assert error.code == "IB-333"
    assert "offers NoneExecutionProvider no device" in error.message


def test_devices_reach_the_session(artifact, library):
    """The CPU's own devices are offered the way that a plugin's are."""
    for _ in range(2):  # a library is registered once
        backend = OnnxRuntime()
        options = {"library": library, "library_name": "openvino"}
        backend.open(artifact, {"provider": "CPUExecutionProvider", **options}, "fp32")
        assert backend.describe()["provider"] == "CPUExecutionProvider"
        assert backend.infer({"x": np.array([-1, 1], np.float32)})["y"].tolist() == [0, 1]
        backend.close()
