"""The metrics a budget may name, and the budgets that hold when the user sets none. Pure data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Bounds:
    """Which absolute limits are possible at all."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        return above and (value < self.high if self.high_open else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.low_open else f"at least {self.low:g}"
        if math.isinf(self.high):
            return low
        return f"{low} and {'below' if self.high_open else 'at most'} {self.high:g}"


_SHARE = Bounds(0, 1, low_open=True)
_DROP = Bounds(0, 1, high_open=True)
_POSITIVE = Bounds(0, math.inf, low_open=True)
_NOT_NEGATIVE = Bounds(0, math.inf)


@dataclass(frozen=True)
class Metric:
    """What a budget on this metric is measured in and how it may be written.

    Attributes:
        bounds: The absolute limits that are possible.
        relative: Whether a change against the baseline may be limited.
        task: The only task that has it, None when every task does.
    """

    name: str
    unit: str
    better: Better
    bounds: Bounds
    meaning: str
    relative: bool = False
    task: str | None = None


def _time(name: str, meaning: str) -> Metric:
    return Metric(name, "ms", "lower", _POSITIVE, meaning, relative=True)


def _map(name: str, better: Better, bounds: Bounds, meaning: str) -> Metric:
    return Metric(name, "ratio", better, bounds, meaning, task="detection")


_ALL = (
    Metric("cosine", "ratio", "higher", _SHARE, "smallest cosine to the reference, of any sample"),
    Metric("centred_cosine", "ratio", "higher", _SHARE, "the same after the mean is taken off"),
    Metric("max_error", "value", "lower", _NOT_NEGATIVE, "largest difference to the reference"),
    Metric("snr_db", "dB", "higher", _POSITIVE, "signal-to-noise ratio against the reference"),
    _map("map", "higher", _SHARE, "COCO mAP at IoU 0.50:0.95"),
    _map("map50", "higher", _SHARE, "COCO mAP at IoU 0.50"),
    _map("map_drop", "lower", _DROP, "mAP lost against the reference"),
    _map("map50_drop", "lower", _DROP, "mAP at IoU 0.50 lost against the reference"),
    _time("p5", "5th percentile of the latency: the machine at its quietest"),
    _time("p50", "median latency"),
    _time("p90", "90th percentile of the latency"),
    _time("p99", "99th percentile of the latency"),
    _time("mean", "mean latency"),
    Metric("memory", "MiB", "lower", _POSITIVE, "peak memory of the worker", relative=True),
    Metric("memory_growth", "MiB", "lower", _NOT_NEGATIVE, "memory gained over many inferences"),
    Metric("device_memory", "MiB", "lower", _POSITIVE, "peak memory on the device", relative=True),
    Metric(
        "device_memory_growth", "MiB", "lower", _NOT_NEGATIVE, "the same on the device, gained so"
    ),
    Metric("power", "W", "lower", _POSITIVE, "mean power of the device", relative=True),
    Metric("energy", "J", "lower", _POSITIVE, "energy of the device an inference", relative=True),
    _time("cold_start", "from an empty process to the first answer"),
    Metric(
        "fallback_nodes", "value", "lower", _NOT_NEGATIVE, "nodes that ran elsewhere than asked"
    ),
    Metric("memcpy_nodes", "value", "lower", _NOT_NEGATIVE, "copies between host and device"),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by name."""

_SIMILARITY = {
    "fp32": 0.99999,
    "tf32": 0.9999,
    "fp16": 0.999,
    "bf16": 0.99,
    "int8": 0.95,
    "fp8": 0.95,
}

# The reason of each number is in docs/settings.md, "Default budgets".
DEFAULTS: Mapping[str, Mapping[str, str | float]] = MappingProxyType(
    {
        "cosine": _SIMILARITY,
        "centred_cosine": {**_SIMILARITY, "int8": 0.9, "fp8": 0.75},
        "map_drop": {
            "fp32": 0.001,
            "tf32": 0.005,
            "fp16": 0.005,
            "bf16": 0.01,
            "int8": 0.02,
            "fp8": 0.02,
        },
        "p5": {"cpu": "+10%", "default": "+5%"},
        "p50": {"cpu": "+25%", "default": "+5%"},
        "memory_growth": {"default": "16 MiB"},
        "device_memory_growth": {"default": "16 MiB"},
        "cold_start": {"default": "60 s"},
        "fallback_nodes": {"default": 0},
    }
)
"""Metric -> its defaults as a user would write them: by precision, class of hardware, or all."""
