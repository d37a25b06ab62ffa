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

_Table = Mapping[str, object]
_NOTHING: _Table = MappingProxyType({})

PRECISIONS: tuple[str, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


@dataclass(frozen=True)
class BackendInfo:
    """The facts that stand about a backend.

    Attributes:
        name: The id used in settings, markers and test ids.
        family: Which precision recipes serve it; see `artifacts.plan`.
        devices: What it runs on, each a cell of its own where a machine has several.
        distributions: Packages of which any one must be installed; empty for remote backends.
        extra: The extra of this project that installs it.
        adapter: ``module:class`` in the worker, or None while this version has no adapter.
        options: Options that the adapter is always given (users' options are added).
        device_options: Further ones by device.
        recipe_options: What its recipes are always told.
        precisions: What it can be asked for.
        source: What it runs: "onnx", or a key of the model's `sources`.
        narrows: Types that it computes in narrower ones, whatever the precision: known, and told
            in docs/backends.md.
        runs: Whether it can infer; one that only builds takes part in tests of builds alone.
        served: Whether a server runs it, which is started for it unless its URL is given.
    """

    name: str
    family: str
    devices: tuple[Device, ...]
    distributions: tuple[str, ...] = ()
    extra: str = ""
    adapter: str | None = None
    options: _Table = field(default_factory=lambda: _NOTHING)
    device_options: Mapping[str, _Table] = field(default_factory=lambda: MappingProxyType({}))
    recipe_options: _Table = field(default_factory=lambda: _NOTHING)
    precisions: tuple[str, ...] = ("fp32",)
    source: str = "onnx"
    narrows: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    runs: bool = True
    served: bool = False

    @property
    def markers(self) -> frozenset[str]:
        """The markers of every cell on this backend, its device, hardware and precision apart."""
        shared = {f"{kind}-": kind for kind in ("ort", "triton")}
        return frozenset({self.name, *(k for p, k in shared.items() if self.name.startswith(p))})

    def options_on(self, device: str) -> dict[str, object]:
        """What its adapter is told on a device, the user's own options apart."""
        return {**self.options, **self.device_options.get(device, {})}


def backend_of_variant(name: str) -> str:
    """Return the backend that a variant of serving is, by the variant's name in the settings."""
    return f"triton-{name}"


def device_marker(device: str) -> frozenset[str]:
    """Return the marker of cells on a kind of device; remote ones have none."""
    return frozenset({"cpu"} if device == "cpu" else () if device == "remote" else {"gpu"})


ORT_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
)
"""The packages of ONNX Runtime, which overwrite one another: one of them in each environment."""

_ORT_ADAPTER = "pytest_inferbench.backends.ort:OnnxRuntime"
TRITON_ADAPTER = "pytest_inferbench.backends.triton:Triton"
_CPU_PRECISIONS = ("fp32", "fp16", "int8")
_FOR_CUDA = MappingProxyType({"scheme": "cuda"})
_NARROWS_NOTHING: Mapping[str, str] = MappingProxyType({})
_OPENVINO_NARROWS = MappingProxyType({"int64": "int32", "float64": "float32"})
_FOR_TENSORRT = MappingProxyType({"scheme": "trt"})


def _ort(
    name: str,
    provider: str,
    device: Device,
    distributions: tuple[str, ...],
    extra: str,
    precisions: tuple[str, ...],
    recipe_options: _Table = _NOTHING,
    narrows: Mapping[str, str] = _NARROWS_NOTHING,
) -> BackendInfo:
    return BackendInfo(
        name=name,
        family="ort",
        devices=(device,),
        distributions=distributions,
        extra=extra,
        adapter=_ORT_ADAPTER,
        options=MappingProxyType({"provider": provider}),
        recipe_options=recipe_options,
        precisions=precisions,
        narrows=narrows,
    )


def _served(name: str, protocol: str) -> BackendInfo:
    """Return a model behind a server, as it is without settings: ONNX Runtime on the CPU."""
    return BackendInfo(
        name=name,
        family="ort",
        devices=("cpu",),
        distributions=("tritonclient",),
        extra="triton",
        adapter=TRITON_ADAPTER,
        options=MappingProxyType({"protocol": protocol}),
        precisions=_CPU_PRECISIONS,
        served=True,
    )


_GPU = ("onnxruntime-gpu",)
_ALL = (
    _ort("ort-cpu", "CPUExecutionProvider", "cpu", ORT_DISTRIBUTIONS, "ort", _CPU_PRECISIONS),
    _ort("ort-cuda", "CUDAExecutionProvider", "nvidia", _GPU, "ort-gpu", PRECISIONS, _FOR_CUDA),
    _ort(
        "ort-trt", "TensorrtExecutionProvider", "nvidia", _GPU, "ort-gpu", PRECISIONS, _FOR_TENSORRT
    ),
    _ort(
        "ort-openvino",
        "OpenVINOExecutionProvider",
        "cpu",
        ("onnxruntime-openvino",),
        "ort-openvino",
        _CPU_PRECISIONS,
        narrows=_OPENVINO_NARROWS,
    ),
    _ort(
        "ort-dml",
        "DmlExecutionProvider",
        "directml",
        ("onnxruntime-directml",),
        "ort-dml",
        _CPU_PRECISIONS,
    ),
    _ort(
        "ort-coreml",
        "CoreMLExecutionProvider",
        "coreml",
        ("onnxruntime",),
        "ort",
        ("fp32", "fp16"),
    ),
    BackendInfo(
        "openvino",
        "openvino",
        ("cpu",),
        ("openvino",),
        "openvino",
        adapter="pytest_inferbench.backends.openvino_native:OpenVino",
        precisions=("fp32", "fp16", "bf16", "int8"),
        narrows=_OPENVINO_NARROWS,
    ),
    BackendInfo(
        "trt",
        "trt",
        ("nvidia",),
        ("tensorrt", "tensorrt-rtx", "tensorrt-rtx-cu13-bindings"),
        "trt",
        adapter="pytest_inferbench.backends.trt:TensorRt",
        precisions=PRECISIONS,
    ),
    BackendInfo(
        "trt-build",
        "trt-build",
        ("cpu",),
        ("tensorrt-rtx-cu13-bindings",),
        "trt-rtx",
        adapter="pytest_inferbench.backends.trt_build:TensorRtBuild",
        precisions=PRECISIONS,
        runs=False,
    ),
    BackendInfo(
        "torch",
        "torch",
        ("cpu", "nvidia"),
        ("torch",),
        "torch",
        adapter="pytest_inferbench.backends.torch_native:Torch",
        device_options=MappingProxyType({"nvidia": MappingProxyType({"device": "cuda"})}),
        precisions=("fp32", "tf32", "fp16", "bf16"),
        source="torch",
    ),
    _served("triton-http", "http"),
    _served("triton-grpc", "grpc"),
    BackendInfo(
        "http",
        "http",
        ("remote",),
        adapter="pytest_inferbench.backends.http_service:HttpService",
        precisions=PRECISIONS,  # a service runs what it runs: declared, and checked where it tells
        source="http",
    ),
)

CATALOG: Mapping[str, BackendInfo] = MappingProxyType({info.name: info for info in _ALL})
"""Every backend of this package by name; a gate's catalog adds what others register."""

REFERENCE_BACKEND = "ort-cpu"
"""The backend whose fp32 outputs every other cell is compared with."""
