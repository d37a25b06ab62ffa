"""The torch backend's options: takes a table of settings, gives them checked, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.errors import InferbenchError

_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_KNOWN = ("device", "compile", "threads", "channels_last", "signature")


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        device: As torch names it.
        mode: A mode of `torch.compile`; empty for eager.
        threads: Of one operator; None for as many as torch likes.
        channels_last: Whether images lie pixel by pixel in memory.
        signature: Lists of ``inputs`` and ``outputs``, for a file that does not name its own.
    """

    device: str
    mode: str
    threads: int | None
    channels_last: bool
    signature: Mapping[str, Any]


def parse(options: Mapping[str, Any]) -> Options:
    """Return the options.

    Raises:
        InferbenchError: One is unknown, or cannot have its value (IB-323).
    """
    for key in options:
        if key not in _KNOWN:
            raise unknown_option(key, _KNOWN)
    channels_last = options.get("channels_last", False)
    if not isinstance(channels_last, bool):
        raise _cannot("channels_last", channels_last, "true, false")
    return Options(
        str(options.get("device", "cpu")),
        _mode(options.get("compile", False)),
        _threads(options.get("threads")),
        channels_last,
        options.get("signature") or {},
    )


def _mode(value: object) -> str:
    if isinstance(value, bool):
        return "default" if value else ""
    if value in _MODES:
        return str(value)
    raise _cannot("compile", value, f"true, false, {', '.join(_MODES)}")


def _threads(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise _cannot("threads", value, "a whole number from 1")


def _cannot(key: str, value: object, can: str) -> InferbenchError:
    return InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", f"It can be: {can}.")
