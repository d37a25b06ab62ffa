"""ONNX Runtime's session options: takes a table of settings, gives `SessionOptions` or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.backends.ort_providers import (
    DIRECTML,
    FRIENDLY,
    friendly_of,
    provider_of,
)
from pytest_inferbench.errors import InferbenchError

ERRORS_ONLY = 3
_PLAIN = (
    "intra_op_num_threads",
    "inter_op_num_threads",
    "enable_cpu_mem_arena",
    "enable_mem_pattern",
    "enable_mem_reuse",
    "use_deterministic_compute",
)
_ENUMS = {"graph_optimization_level": "GraphOptimizationLevel", "execution_mode": "ExecutionMode"}
_TABLES = ("provider_options", "session_config", "free_dimensions")
_FLAGS = ("bind",)  # ours, read by the adapter
_OTHERS = (*_FLAGS, "provider", "library", "library_name", "preload")
_OF_ALL = (*_PLAIN, *_ENUMS, *_TABLES, *_OTHERS)


def session_options(ort: Any, options: Mapping[str, Any]) -> Any:
    """Return the runtime's own object.

    Raises:
        InferbenchError: An option is unknown, or cannot have its value (IB-323).
    """
    made = ort.SessionOptions()
    made.log_severity_level = ERRORS_ONLY
    if provider_of(options) == DIRECTML:
        made.enable_mem_pattern = False  # DirectML refuses it
    for key, value in options.items():
        if key not in _OF_ALL and key not in FRIENDLY:  # another provider's: see `ort_providers`
            raise unknown_option(key, (*_OF_ALL, *friendly_of(provider_of(options))))
        if key in _TABLES and not isinstance(value, Mapping):
            raise _cannot(key, value, "a table")
        if key in _FLAGS and not isinstance(value, bool):
            raise _cannot(key, value, "true, false")
        if key in _PLAIN:
            try:
                setattr(made, key, value)
            except TypeError as error:
                raise _cannot(key, value, type(getattr(made, key)).__name__) from error
        elif key in _ENUMS:
            setattr(made, key, _member(getattr(ort, _ENUMS[key]), key, str(value)))
    for key, value in options.get("session_config", {}).items():
        made.add_session_config_entry(key, str(int(value) if isinstance(value, bool) else value))
    for key, value in options.get("free_dimensions", {}).items():
        if not isinstance(value, int):
            raise _cannot(f"free_dimensions.{key}", value, "int")
        made.add_free_dimension_override_by_name(key, value)
    return made


def _cannot(key: str, value: object, takes: str) -> InferbenchError:
    return InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", f"It takes {takes}.")


def _member(enum: Any, key: str, value: str) -> Any:
    names = {
        name.lower().removeprefix("ort_").removeprefix("enable_"): name for name in enum.__members__
    }
    if value.lower() not in names:
        raise InferbenchError(
            "IB-323", f"option {key!r} cannot be {value!r}", f"It can be: {', '.join(names)}."
        )
    return enum.__members__[names[value.lower()]]
