"""OpenVINO's properties: takes a table of settings, gives what to compile with, or an error.

Imports no runtime: what devices and properties there are is told to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.errors import InferbenchError

_KNOWN = ("device", "hint", "model_cache", "num_streams", "inference_num_threads", "config")
_HINTS = ("latency", "throughput")
_PRECISION_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""int8: what a quantized graph leaves in float is computed in fp32, as on every other backend."""

_PINNED = ("INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT")
_OWN = {"CACHE_DIR": "model_cache", "PERFORMANCE_HINT": "hint"}
_OF_THE_CORE = ("CACHE_MODE", "CACHE_ENCRYPTION_CALLBACKS", "DEVICE_PROPERTIES", "ENABLE_MMAP")


def check_device(device: str, available: Sequence[str]) -> str:
    """Return the device if it is there.

    Raises:
        InferbenchError: IB-323 it is no single device; IB-324 it is not there.
    """
    kind, _, candidates = device.partition(":")
    if kind in ("HETERO", "MULTI", "BATCH"):
        raise InferbenchError(
            "IB-323",
            f"option 'device' cannot be {device!r}: what ran where could not be told",
            f"It can be AUTO, or one of {', '.join(available)}.",
        )
    wanted = (candidates.split(",") if candidates else []) if kind == "AUTO" else [device]
    bases = {name.partition(".")[0] for name in available}
    missing = [name for name in wanted if name not in available and name not in bases]
    if missing:
        raise InferbenchError(
            "IB-324",
            f"OpenVINO finds no device {', '.join(missing)}",
            f"It finds {', '.join(available) or 'none'}; a GPU or NPU needs its driver.",
        )
    return device


def properties(
    options: Mapping[str, Any], precision: str, device: str, supported: Sequence[str]
) -> dict[str, Any]:
    """Return what a model is compiled with.

    Args:
        options: The adapter's options.
        precision: What to compute in.
        device: A device that is there.
        supported: The properties that it has.

    Raises:
        InferbenchError: IB-323 an option is unknown or cannot have its value; IB-341 OpenVINO does
            not have the precision, or ``config`` asks for another; IB-342 the cache's folder
            cannot be made.
    """
    for key in options:
        if key not in _KNOWN:
            raise unknown_option(key, _KNOWN)
    if precision not in _PRECISION_HINTS:
        raise InferbenchError(
            "IB-341",
            f"OpenVINO does not run at {precision}",
            f"It runs at {', '.join(_PRECISION_HINTS)}.",
        )
    made: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        "PERFORMANCE_HINT": _hint(options.get("hint", "latency")),
    }
    if precision in ("fp32", "int8"):
        # Else activations of compressed layers and a KV cache would be int8, whatever is asked.
        made["EXECUTION_MODE_HINT"] = "ACCURACY"
    if device.startswith("AUTO"):
        made["ENABLE_STARTUP_FALLBACK"] = False  # else the CPU answers until the device is ready
    for key in ("num_streams", "inference_num_threads"):
        if key in options:
            made[key.upper()] = _number(key, options[key])
    if "model_cache" in options:
        made["CACHE_DIR"] = _folder(str(options["model_cache"]))
    return made | _checked(options.get("config", {}), precision, supported)


def _checked(config: object, precision: str, supported: Sequence[str]) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise _cannot("config", config, "a table of properties")
    for key, value in config.items():
        if key in _OWN:
            raise InferbenchError(
                "IB-323", f"config cannot hold {key!r}", f"There is the option {_OWN[key]!r}."
            )
        if key not in supported and key not in _OF_THE_CORE:
            raise unknown_option(key, [*supported, *_OF_THE_CORE])
        if key in _PINNED and precision in ("fp32", "fp16", "bf16"):
            raise InferbenchError(
                "IB-341",
                f"config sets {key} to {value!r}, and the cell is to run at {precision}",
                "Leave it out, or ask for another precision.",
            )
    return dict(config)


def _hint(value: object) -> str:
    if value not in _HINTS:
        raise _cannot("hint", value, " or ".join(_HINTS))
    return str(value).upper()


def _number(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _cannot(key, value, "a number from 1")
    return value


def _folder(path: str) -> str:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InferbenchError(
            "IB-342",
            f"the model cache cannot be kept in {path}: {error.strerror}",
            "Set the option `model_cache` to a folder that can be written to.",
        ) from error
    return path


def _cannot(key: str, value: object, takes: str) -> InferbenchError:
    return InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", f"It takes {takes}.")
