"""Adapters as a third party writes them: on top of one of ours, and with their `BackendInfo`."""

from __future__ import annotations

from pytest_inferbench.backends.catalog import BackendInfo
from pytest_inferbench.backends.contract import Backend, TensorSpec
from pytest_inferbench.backends.ort import OnnxRuntime

INFO = BackendInfo("doubled", "as-is", ("cpu",), adapter="third_party_adapters:Named")
SPEC = (TensorSpec("x", "float32", (4,)),)


class OneThread(OnnxRuntime):
    """ONNX Runtime with options of its own."""

    def _open(self, artifact, options, precision):
        own = {"provider": "CPUExecutionProvider", "intra_op_num_threads": 1}
        return super()._open(artifact, {**own, **options}, precision)

    def _describe(self):
        return {**super()._describe(), "by": "a third party"}


class Named(Backend):
    """Takes its name from what the gate knows of it."""

    def _open(self, artifact, options, precision):
        return SPEC, SPEC

    def _infer(self, inputs):
        return {"x": inputs["x"] * 2}

    def _describe(self):
        return {"backend": INFO.name}

    def _close(self):
        pass
