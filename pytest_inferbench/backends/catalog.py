"""What is known of each backend before anything of it is imported.

Takes a backend's name; gives its family, device, packages and adapter. Knows no runtime: whether
a backend can run is decided from distribution metadata, never from imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Device = Literal["cpu", "nvidia", "remote", "directml", "coreml"]

PRECISIONS: tuple[str, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


@dataclass(frozen=True)
class BackendInfo:
    """The facts that stand about a backend.

    Attributes:
        name: The id used in settings, markers and test ids.
        family: Which precision recipes serve it.
        device: What it runs on.
        distributions: Packages of which any one must be installed; empty for remote backends.
        extra: The extra of this project that installs it.
        adapter: ``module:class`` in the worker, or None while this version has no adapter.
        options: Options that the adapter is always given (users' options are added).
    """

    name: str
    family: str
    device: Device
    distributions: tuple[str, ...]
    extra: str
    adapter: str | None = None
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def markers(self) -> frozenset[str]:
        """The markers of every cell on this backend, its hardware and precision apart."""
        names = {self.name}
        if self.name.startswith("ort-"):
            names.add("ort")
        if self.device == "cpu":
            names.add("cpu")
        elif self.device != "remote":
            names.add("gpu")
        return frozenset(names)


_ORT = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def _ort(
    name: str, provider: str, device: Device, distributions: tuple[str, ...], extra: str, runs: bool
) -> BackendInfo:
    return BackendInfo(
        name=name,
        family="ort",
        device=device,
        distributions=distributions,
        extra=extra,
        adapter="pytest_inferbench.backends.ort:OnnxRuntime" if runs else None,
        options=MappingProxyType({"provider": provider}),
    )


_ALL = (
    _ort("ort-cpu", "CPUExecutionProvider", "cpu", _ORT, "ort", True),
    _ort("ort-cuda", "CUDAExecutionProvider", "nvidia", ("onnxruntime-gpu",), "ort-gpu", False),
    _ort("ort-trt", "TensorrtExecutionProvider", "nvidia", ("onnxruntime-gpu",), "ort-gpu", False),
    _ort(
        "ort-openvino",
        "OpenVINOExecutionProvider",
        "cpu",
        ("onnxruntime-openvino",),
        "openvino",
        False,
    ),
    _ort("ort-dml", "DmlExecutionProvider", "directml", ("onnxruntime-directml",), "ort", False),
    _ort("ort-coreml", "CoreMLExecutionProvider", "coreml", ("onnxruntime",), "ort", False),
    BackendInfo("openvino", "openvino", "cpu", ("openvino",), "openvino"),
    BackendInfo("trt", "trt", "nvidia", ("tensorrt", "tensorrt-rtx"), "trt"),
    BackendInfo("trt-build", "trt", "cpu", ("tensorrt-rtx-cu13-bindings",), "trt-rtx"),
    BackendInfo("torch", "torch", "cpu", ("torch",), "torch"),
    BackendInfo("triton-http", "triton", "remote", ("tritonclient",), "triton"),
    BackendInfo("triton-grpc", "triton", "remote", ("tritonclient",), "triton"),
    BackendInfo("http", "http", "remote", (), "triton"),
)

CATALOG: Mapping[str, BackendInfo] = MappingProxyType({info.name: info for info in _ALL})
"""Every backend by name."""

REFERENCE_BACKEND = "ort-cpu"
"""The backend whose fp32 outputs every other cell is compared with."""
