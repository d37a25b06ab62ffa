"""Where a call's time went: takes what both sides measured, gives the parts of the last calls.

A call is, one after the other: made into a body, on the wire, in the service, read. The service's
share is what it says itself; what the wire took beyond that is the network's.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

KEPT_CALLS = 10_000
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
    """The last calls, from any thread."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT_CALLS)

    def add(self, call: Call) -> None:
        """Note a call."""
        self._calls.append(call)

    def as_fields(self) -> dict[str, Any]:
        """Return each part's percentiles, as plain types; nothing before the first call.

        Calls whose service counts more time than they took are left out of the service's and the
        network's parts, and counted: its clock or its unit is wrong.
        """
        calls = list(self._calls)
        if not calls:
            return {}
        timed = [call for call in calls if call.server_total_ms is not None]
        sound = [call for call in timed if _server_total(call) <= call.wire_ms]
        parts: dict[str, list[float]] = {
            "total_ms": [each.serialize_ms + each.wire_ms + each.deserialize_ms for each in calls],
            "serialize_ms": [each.serialize_ms for each in calls],
            "wire_ms": [each.wire_ms for each in calls],
            "deserialize_ms": [each.deserialize_ms for each in calls],
            "request_bytes": [each.request_bytes for each in calls],
            "response_bytes": [each.response_bytes for each in calls],
            "server_ms": [each.server_ms or 0.0 for each in sound],
            "server_overhead_ms": [_server_total(each) - (each.server_ms or 0.0) for each in sound],
            "network_ms": [each.wire_ms - _server_total(each) for each in sound],
        }
        fields: dict[str, Any] = {name: _summary(part) for name, part in parts.items() if part}
        if len(timed) > len(sound):
            fields["implausible_server_times"] = len(timed) - len(sound)
        return fields


def _server_total(call: Call) -> float:
    return call.server_total_ms or 0.0


def _summary(values: list[float]) -> Mapping[str, float]:
    from pytest_inferbench.measure.sampling import PERCENTILES

    array = np.asarray(values, np.float64)
    named = zip(PERCENTILES, np.percentile(array, PERCENTILES), strict=True)
    ranks = {f"p{rank}": float(value) for rank, value in named}
    return {**ranks, "mean": float(array.mean()), "min": float(array.min()), "count": len(values)}
