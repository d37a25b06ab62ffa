"""A server's own times: takes its statistics before and after, gives means of what lies between.

Pure: knows neither servers nor budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = ("queue", "compute_input", "compute_infer", "compute_output")
"""What the server's time of a request is made of."""


def server_times(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Return counts, and each part's mean in milliseconds, between two readings of statistics.

    Args:
        before: A model's entry of the server's statistics.
        after: The same, later.
    """
    requests = _gained(before, after, "success", "count")
    times = {
        "requests": requests,
        "failures": _gained(before, after, "fail", "count"),
        "inferences": _number(after, "inference_count") - _number(before, "inference_count"),
        "executions": _number(after, "execution_count") - _number(before, "execution_count"),
    }
    if not requests:
        return times
    means = {f"{p}_ms": _gained(before, after, p, "ns") / requests / 1e6 for p in PARTS}
    return {**times, "server_ms": _gained(before, after, "success", "ns") / requests / 1e6, **means}


def _gained(before: Mapping[str, Any], after: Mapping[str, Any], part: str, key: str) -> float:
    return _of(after, part, key) - _of(before, part, key)


def _of(statistics: Mapping[str, Any], part: str, key: str) -> float:
    return float(statistics.get("inference_stats", {}).get(part, {}).get(key, 0))


def _number(statistics: Mapping[str, Any], key: str) -> float:
    return float(statistics.get(key, 0))
