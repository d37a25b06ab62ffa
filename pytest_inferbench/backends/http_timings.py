"""Where a call's time went: takes what both sides measured, gives the parts of the last calls.

A call is, one after the other: made into a body, on the wire, in the service, read. The service's
share is what it says itself; what the wire took beyond that is the network's.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

KEPT_CALLS = 4096
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Call(NamedTuple):
    """One call's parts; None where the service tells nothing."""

    serialize_ms: float
    wire_ms: float
    deserialize_ms: float
    server_ms: float | None
    server_total_ms: float | None
    request_bytes: int
    response_bytes: int


def server_timing(header: str | None) -> dict[str, float]:
    """Return the durations in ms of a ``Server-Timing`` header, by the metric's name."""
    found: dict[str, float] = {}
    plain = _QUOTED.sub(lambda quoted: re.sub("[,;=]", " ", quoted[1]), header or "")
    for metric in plain.split(","):
        name, *parameters = (part.strip().lower() for part in metric.split(";"))
        for key, _, value in (parameter.partition("=") for parameter in parameters):
            with contextlib.suppress(ValueError):
                value_ms = float(value) if key.strip() == "dur" else math.nan
                if name and 0 <= value_ms < math.inf:
                    found.setdefault(name, value_ms)
    return found


def server_share(header: str | None, told_ms: float | None) -> tuple[float | None, float | None]:
    """Return the time inference took, and all the time the service counts, in ms.

    Of the header ``infer`` and ``total`` are taken, or the only metric there is; several of other
    names may lie within each other, and are not added up. The body's time stands in for them.
    """
    found = server_timing(header)
    only = next(iter(found.values())) if len(found) == 1 else None
    infer_ms = found.get("infer", found.get("total", only))
    if infer_ms is None:
        return told_ms, told_ms
    return infer_ms, max(infer_ms, found.get("total", infer_ms))


class Timings:
    """The last calls, from any thread, in memory that is all taken at once: none grows later."""

    def __init__(self) -> None:
        self._rows = np.full((KEPT_CALLS, len(Call._fields)), np.nan)
        self._count = itertools.count()
        self._last = -1

    def add(self, call: Call) -> None:
        """Note a call."""
        self._last = index = next(self._count)
        self._rows[index % KEPT_CALLS] = [np.nan if part is None else part for part in call]

    def as_fields(self) -> dict[str, Any]:
        """Return each part's percentiles, as plain types; nothing before the first call.

        Calls whose service counts more time than they took are left out of the service's and the
        network's parts, and counted: its clock or its unit is wrong.
        """
        rows = self._rows[: self._last + 1].copy()
        all_ = dict(zip(Call._fields, rows.T, strict=True))
        is_sound = all_["server_total_ms"] <= all_["wire_ms"]  # false where nothing is told
        sound = dict(zip(Call._fields, rows[is_sound].T, strict=True))
        parts = {
            "total_ms": all_["serialize_ms"] + all_["wire_ms"] + all_["deserialize_ms"],
            "serialize_ms": all_["serialize_ms"],
            "wire_ms": all_["wire_ms"],
            "deserialize_ms": all_["deserialize_ms"],
            "request_bytes": all_["request_bytes"],
            "response_bytes": all_["response_bytes"],
            "server_ms": sound["server_ms"],
            "server_overhead_ms": sound["server_total_ms"] - sound["server_ms"],
            "network_ms": sound["wire_ms"] - sound["server_total_ms"],
        }
        fields: dict[str, Any] = {name: _summary(part) for name, part in parts.items() if part.size}
        implausible = int((all_["server_total_ms"] > all_["wire_ms"]).sum())
        return {**fields, "implausible_server_times": implausible} if implausible else fields


def _summary(values: npt.NDArray[np.float64]) -> dict[str, float]:
    from pytest_inferbench.measure.sampling import PERCENTILES

    named = zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    ranks = {f"p{rank}": float(value) for rank, value in named}
    return {**ranks, "mean": float(values.mean()), "min": float(values.min()), "count": values.size}
