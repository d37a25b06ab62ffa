"""Providers and their options: takes an options table and a precision, gives the chain to ask for.

Pure: knows no runtime. Friendly options become each provider's own; what the precision demands is
pinned, and a provider option that contradicts it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_inferbench.errors import InferbenchError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
DIRECTML = "DmlExecutionProvider"

Chain = list[tuple[str, dict[str, str]]]

# Friendly option -> the provider's own options; `{}` is the value.
_FRIENDLY: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    CUDA: {
        "device_id": {"device_id": "{}"},
        "cuda_graph": {"enable_cuda_graph": "{}"},
        "concurrent": {},  # the adapter's own: whether threads take turns
    },
    TENSORRT: {
        "device_id": {"device_id": "{}"},
        "cuda_graph": {"trt_cuda_graph_enable": "{}"},
        "workspace_mib": {"trt_max_workspace_size": "{}"},
        "engine_cache": {"trt_engine_cache_enable": "1", "trt_engine_cache_path": "{}"},
        "timing_cache": {"trt_timing_cache_enable": "1", "trt_timing_cache_path": "{}"},
        "concurrent": {},
    },
    OPENVINO: {"device_type": {"device_type": "{}"}},
    DIRECTML: {"device_id": {"device_id": "{}"}},
}
FRIENDLY = tuple(sorted({name for options in _FRIENDLY.values() for name in options}))
_OPENVINO_DEVICE = re.compile(
    r"(CPU|GPU|NPU)(\.\d+)?|AUTO|(AUTO|HETERO|MULTI|BATCH):(CPU|GPU|NPU)[\w.,()]*"
)
FOLDERS = ("engine_cache", "timing_cache")


def provider_of(options: Mapping[str, Any]) -> str:
    """Return the provider that an options table asks for."""
    return str(options.get("provider", CPU))


def friendly_of(provider: str) -> tuple[str, ...]:
    """Return the friendly options that a provider has."""
    return tuple(_FRIENDLY.get(provider, {}))


def chain(options: Mapping[str, Any], precision: str) -> Chain:
    """Return providers with their options, the one that is asked for first.

    Only TensorRT is given another below it: CUDA, for what it cannot take.

    Raises:
        InferbenchError: IB-323 an option is not for this provider; IB-332 the provider cannot run
            the precision, or an option contradicts it.
    """
    provider = provider_of(options)
    own = _own(provider, options)
    for key, value in _pinned(provider, precision, own, plugin="library" in options).items():
        if _plain(own.setdefault(key, value)) != value:
            raise InferbenchError(
                "IB-332",
                f"provider option {key} = {own[key]!r} contradicts {precision}, which needs"
                f" {value!r}",
                "Leave the option out, or ask for the other precision.",
            )
    if provider != TENSORRT:
        return [(provider, own)]
    below = {"use_tf32": "1" if precision == "tf32" else "0"}
    if "device_id" in own:
        below["device_id"] = own["device_id"]
    return [(TENSORRT, own), (CUDA, below)]


def emulation(options: Mapping[str, Any], precision: str) -> str | None:
    """Return a sentence where a provider is known to compute in another precision than asked."""
    own = {**options.get("provider_options", {})}
    device = str(own.get("device_type", options.get("device_type", "CPU")))
    if provider_of(options) != OPENVINO or device != "CPU" or precision not in ("fp16", "bf16"):
        return None
    if "load_config" in own:  # it may ask for another inference precision
        return None
    return (
        f"OpenVINO's provider computes in f32 on a CPU: {precision} is only how values are stored"
    )


def _own(provider: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the provider's own options: those given as such come before friendly ones."""
    made = {key: str(value) for key, value in options.get("provider_options", {}).items()}
    known = _FRIENDLY.get(provider, {})
    for name in FRIENDLY:
        if name not in options:
            continue
        if name not in known:
            mine = ", ".join(known) or "none of its kind"
            raise InferbenchError(
                "IB-323", f"option {name!r} is not for {provider}", f"It has {mine}."
            )
        for key, value in known[name].items():
            made.setdefault(key, value.format(_text(name, options[name])))
    if provider == OPENVINO and not _OPENVINO_DEVICE.fullmatch(made.get("device_type", "CPU")):
        raise InferbenchError(
            "IB-323",
            f"option 'device_type' cannot be {made['device_type']!r}",
            "It can be CPU, GPU, GPU.1, NPU, AUTO, or such as HETERO:GPU,CPU.",
        )
    if provider == OPENVINO and "intra_op_num_threads" in options:
        made.setdefault("num_of_threads", str(options["intra_op_num_threads"]))
    return made


def _pinned(
    provider: str, precision: str, own: Mapping[str, str], *, plugin: bool
) -> dict[str, str]:
    """Return the options that a precision demands; OpenVINO's plugin has others than its wheel."""
    if provider == CUDA:
        return {"use_tf32": "1" if precision == "tf32" else "0"}
    if provider == TENSORRT:
        if precision in ("fp32", "tf32"):
            return {"trt_fp16_enable": "0", "trt_int8_enable": "0"}
        return {f"trt_{precision}_enable": "1"} if precision in ("fp16", "bf16", "int8") else {}
    if precision == "tf32":
        raise InferbenchError(
            "IB-332", f"{provider} has no tf32", "It is of NVIDIA GPUs: ort-cuda and ort-trt."
        )
    if provider == OPENVINO and not plugin:
        device = own.get("device_type", "CPU").partition(".")[0]
        if precision == "fp32":
            return {"precision": "FP32"}
        return {"precision": "FP16"} if precision == "fp16" and device in ("GPU", "NPU") else {}
    return {}


def _text(name: str, value: Any) -> str:
    if name == "workspace_mib":
        return str(int(value) << 20)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _plain(value: str) -> str:
    return {"true": "1", "false": "0"}.get(value.lower(), value)
