"""Takes what a Triton tells of itself, as text or plain types; gives counts and gauges. Pure.

Two sources: the statistics endpoint (KServe's extension; over gRPC its integers come as text), and
the metrics in Prometheus' text format. What a server does not tell is left out, never taken for 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_inferbench.serving.split import Snapshot

_LINE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+\S+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MIB = 2.0**20

_GAUGES: Mapping[str, tuple[str, float]] = {
    "nv_gpu_utilization": ("gpu_utilization", 1.0),
    "nv_gpu_memory_used_bytes": ("gpu_memory_mib", 1 / _MIB),
    "nv_gpu_power_usage": ("gpu_power_w", 1.0),
    "nv_cpu_utilization": ("cpu_utilization", 1.0),
}
_ADDED_UP = ("gpu_memory_mib", "gpu_power_w")  # over GPUs; of utilizations the mean is told


@dataclass(frozen=True)
class Told:
    """What a server's metrics say at one moment.

    Attributes:
        queue_ms: Quantile -> time in the model's queue, where summaries are switched on: over the
            last minute or so, as the server has it.
        pending: The model's requests that wait to be run.
        gauges: The host's and the GPUs' own figures, by name and unit.
    """

    queue_ms: Mapping[float, float] = field(default_factory=dict)
    pending: int | None = None
    gauges: Mapping[str, float] = field(default_factory=dict)


def snapshot_of(statistics: Mapping[str, Any]) -> Snapshot:
    """Return the counts of a model from its entry at the statistics endpoint.

    Raises:
        KeyError, TypeError, ValueError: They are not what the protocol says.
    """
    inner = statistics["inference_stats"]

    def counted(name: str, what: str) -> int:  # a count of 0 is left out over gRPC
        return int(inner.get(name, {}).get(what, 0))

    return Snapshot(
        requests=counted("success", "count"),
        request_ns=counted("success", "ns"),
        queue_ns=counted("queue", "ns"),
        input_ns=counted("compute_input", "ns"),
        infer_ns=counted("compute_infer", "ns"),
        output_ns=counted("compute_output", "ns"),
        cache_hits=counted("cache_hit", "count"),
        inferences=int(statistics.get("inference_count", 0)),
        executions=int(statistics.get("execution_count", 0)),
        failures=counted("fail", "count"),
    )


def told_of(exposition: str, model: str) -> Told:
    """Return what the metrics say of a model and of the devices."""
    queue_ms: dict[float, float] = {}
    pending: int | None = None
    gauges: dict[str, list[float]] = {}
    for name, labels, value in _samples(exposition):
        if name in _GAUGES:
            called, factor = _GAUGES[name]
            gauges.setdefault(called, []).append(value * factor)
        elif labels.get("model") != model:
            continue
        elif name == "nv_inference_queue_summary_us" and "quantile" in labels:
            # of several versions the slower one; of no requests at all there is none: NaN
            if value == value:  # noqa: PLR0124
                quantile = float(labels["quantile"])
                queue_ms[quantile] = max(queue_ms.get(quantile, 0.0), value / 1e3)
        elif name == "nv_inference_pending_request_count":
            pending = (pending or 0) + int(value)
    return Told(
        queue_ms,
        pending,
        {
            name: sum(values) if name in _ADDED_UP else sum(values) / len(values)
            for name, values in gauges.items()
        },
    )


def _samples(exposition: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in exposition.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:  # a comment, or nothing
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        yield match["name"], dict(_LABEL.findall(match["labels"] or "")), value
