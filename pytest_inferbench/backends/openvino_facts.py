"""What OpenVINO says of a model: takes its objects, gives specs, counts and sentences.

Knows no option and opens nothing. A model's names are those that its ONNX file declares, also after
it was written as OpenVINO's own IR and read back.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError

DTYPES: Mapping[str, str] = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}
"""OpenVINO's element types that numpy has too, and what numpy calls them."""

CAPABILITIES: Mapping[str, str] = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
"""What a device calls what it computes in, by precision."""

_PRECISIONS = {
    "f64": "fp64",
    "f32": "fp32",
    "f16": "fp16",
    "bf16": "bf16",
    "i8": "int8",
    "u8": "int8",
    "i32": "int32",
    "i64": "int64",
    "boolean": "bool",
    "f8e4m3": "fp8",
    "f8e5m2": "fp8",
}
# Layers that hold, hand on or rearrange values: what they are stored in says nothing of compute.
_NO_COMPUTE = {
    *("Const", "Input", "Output", "Parameter", "Result", "MemoryInput", "MemoryOutput"),
    *("ReadValue", "Assign", "Reorder", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Convert"),
    *("Transpose", "Permute", "Split", "VariadicSplit", "Concat", "Concatenation", "ShapeOf"),
    *("Gather", "StridedSlice", "Slice", "Broadcast", "Tile", "FakeQuantize", "Quantize"),
}
_REPORTED = {
    "hint": "PERFORMANCE_HINT",
    "execution_mode": "EXECUTION_MODE_HINT",
    "num_streams": "NUM_STREAMS",
    "inference_num_threads": "INFERENCE_NUM_THREADS",
    "precision_hint": "INFERENCE_PRECISION_HINT",
}
_SINK = "/sink_port_"


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry, which no variable of the environment switches off.

    Where the package that sends it cannot be imported, OpenVINO and NNCF do without.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def specs_of(ports: Iterable[Any]) -> tuple[TensorSpec, ...]:
    """Return what a model's inputs or outputs are.

    Raises:
        InferbenchError: IB-340 numpy has no such type.
    """
    return tuple(TensorSpec(name_of(port), _dtype(port), _shape(port)) for port in ports)


def name_of(port: Any) -> str:
    """Return an input's or output's name in the ONNX file, or the nearest that there is."""
    node = str(port.get_node().get_friendly_name())
    declared, sink, _ = node.rpartition(_SINK)
    names = port.get_names()
    wanted = declared if sink else node
    return wanted if wanted in names or not names else str(min(names))


def reported(compiled: Any) -> dict[str, Any]:
    """Return what a compiled model says that it runs with, in plain types."""
    supported = compiled.get_property("SUPPORTED_PROPERTIES")
    found = {
        key: compiled.get_property(name) for key, name in _REPORTED.items() if name in supported
    }
    return {key: _plain(value) for key, value in found.items()}


def layers_of(compiled: Any) -> dict[str, int] | None:
    """Count the layers that compute by the precision they compute in; None if it cannot tell."""
    layers = _runtime_layers(compiled)
    if layers is None:
        return None
    found = []
    for info in layers:
        kind = _text(info, "layerType")
        precision = layer_precision(_text(info, "primitiveType"), _text(info, "runtimePrecision"))
        if kind and precision and kind not in _NO_COMPUTE:
            found.append(precision)
    return dict(sorted(Counter(found).items()))


def placed(layers: Mapping[str, int] | None, devices: Sequence[str]) -> dict[str, Any]:
    """Return what `layers_of` a compiled model says, as facts, as far as it can tell."""
    if layers is None:
        return {}
    where = {"placement": {devices[0]: sum(layers.values())}} if len(devices) == 1 else {}
    return {"precisions": layers, **where}


def fused(compiled: Any) -> dict[str, Any]:
    """Return the layers that were made of several, as a fact; nothing if it cannot tell.

    Names come with commas between them, and are cut at these, those in names too. An operation is
    called as its ONNX node; as what it gives where it has no name, or gives an output of the model.
    """
    layers = _runtime_layers(compiled)
    if layers is None:
        return {}
    found = []
    for info in layers:
        names = _text(info, "originalLayersNames").split(",")
        if len(names) > 1:
            kind, kernel = _text(info, "layerType"), _text(info, "primitiveType")
            found.append({"layer": f"{kind} ({kernel})" if kernel else kind, "nodes": names})
    return {"fused": found}


def layer_precision(primitive: str, declared: str) -> str:
    """Return what a layer computes in.

    Its kernel's name, such as ``jit_avx2_f32``, tells; the precision that the runtime declares is
    that of what the layer reads: fp16 for weights that the kernel turns into fp32.
    """
    kernel = primitive.rpartition("_")[2].lower()
    return _PRECISIONS.get(kernel) or _PRECISIONS.get(declared, declared)


def emulation(
    precision: str,
    device: str,
    capabilities: Sequence[str],
    hint: str | None,
    layers: Mapping[str, int] | None,
) -> str | None:
    """Say that a precision is not computed in, or None if nothing speaks against it.

    Args:
        precision: What was asked for.
        device: The device's name, for the sentence.
        capabilities: What the device says it computes in.
        hint: The precision that the compiled model reports, if it does.
        layers: `layers_of` the compiled model.
    """
    if precision not in CAPABILITIES:
        return None
    able = CAPABILITIES[precision] in capabilities
    runs = None if layers is None else layers.get(precision, 0) > 0
    if able and runs is not False and (precision == "int8" or hint in (None, _HINTS[precision])):
        return None
    stored = {"fp16": "its weights are fp16", "int8": "its weights are int8"}.get(precision)
    ran = f"computed in {', '.join(layers)}" if layers else f"run with the hint {hint}"
    first = f"{device} has no {precision}" if not able else f"no layer ran in {precision}"
    has = [name for name in capabilities if name in _COMPUTES]
    beside = f" (it has {', '.join(has)})" if not able else ""
    return f"{first}{beside}: {f'{stored}, and ' if stored else ''}the model is {ran}"


_COMPUTES = {*CAPABILITIES.values(), "FP32"}
_HINTS = {"fp16": "f16", "bf16": "bf16"}


def _runtime_layers(compiled: Any) -> list[Any] | None:
    """Return what a compiled model says of each of its layers; None if it says nothing."""
    try:
        return [each.get_rt_info() for each in compiled.get_runtime_model().get_ordered_ops()]
    except Exception:  # noqa: BLE001 - not every device has a runtime model, and any error says so
        return None


def _plain(value: Any) -> int | str:
    if isinstance(value, (int, str)):
        return value
    name = value.get_type_name() if hasattr(value, "get_type_name") else value.name
    return str(name)


def _text(info: Any, key: str) -> str:
    if key not in info:
        return ""
    value = info[key]
    return str(value.astype(str) if hasattr(value, "astype") else value)


def _dtype(port: Any) -> str:
    name = str(port.get_element_type().get_type_name())
    if name not in DTYPES:
        raise InferbenchError(
            "IB-340",
            f"{name_of(port)!r} is of OpenVINO's type {name}, which numpy does not have",
            f"Inputs and outputs can be: {', '.join(DTYPES.values())}.",
        )
    return DTYPES[name]


def _shape(port: Any) -> tuple[int, ...] | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(d.get_length() if d.is_static else -1 for d in shape)
