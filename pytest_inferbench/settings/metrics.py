"""The metrics a budget may name, and the budgets that hold when the user sets none. Pure data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        defaults: Of a registered task's metric: its default budgets, written as in `DEFAULTS`,
            where those of the package's own stand.
    """

    name: str
    unit: str
    better: Better
    bounds: Bounds
    meaning: str
    relative: bool = False
    task: str | None = None
    defaults: Mapping[str, str | float] = field(default_factory=dict, hash=False)


def _time(name: str, meaning: str) -> Metric:
    return Metric(name, "ms", "lower", _POSITIVE, meaning, relative=True)


def _map(name: str, better: Better, bounds: Bounds, meaning: str) -> Metric:
    return _of("detection", name, better, bounds, meaning)


def _of(task: str, name: str, better: Better, bounds: Bounds, meaning: str) -> Metric:
    return Metric(name, "ratio", better, bounds, meaning, task=task)


_ALL = (
    Metric("cosine", "ratio", "higher", _SHARE, "smallest cosine to the reference, of any sample"),
    Metric("centred_cosine", "ratio", "higher", _SHARE, "the same after the mean is taken off"),
    Metric("cosine_mean", "ratio", "higher", _SHARE, "the mean over the samples instead"),
    Metric("cosine_p1", "ratio", "higher", _SHARE, "the 1st percentile over the samples instead"),
    Metric("max_error", "value", "lower", _NOT_NEGATIVE, "largest difference to the reference"),
    Metric("mean_error", "value", "lower", _NOT_NEGATIVE, "mean absolute difference to it"),
    Metric("outside", "ratio", "lower", _DROP, "share of elements outside rtol and atol"),
    Metric("snr_db", "dB", "higher", _POSITIVE, "signal-to-noise ratio against the reference"),
    _map("map", "higher", _SHARE, "COCO mAP at IoU 0.50:0.95"),
    _map("map50", "higher", _SHARE, "COCO mAP at IoU 0.50"),
    _map("map_drop", "lower", _DROP, "mAP lost against the reference"),
    _map("map50_drop", "lower", _DROP, "mAP at IoU 0.50 lost against the reference"),
    _of("classification", "top1", "higher", _SHARE, "share of samples whose best class is right"),
    _of("classification", "top5", "higher", _SHARE, "share with the right class among five"),
    _of("classification", "top1_drop", "lower", _DROP, "top-1 lost against the reference"),
    _of("classification", "top5_drop", "lower", _DROP, "top-5 lost against the reference"),
    _of(
        "classification",
        "top1_agreement",
        "higher",
        _SHARE,
        "share of samples with the reference's best class",
    ),
    _of("embedding", "embedding_cosine", "higher", _SHARE, "smallest cosine of pooled vectors"),
    _of("embedding", "recall_at_k", "higher", _SHARE, "share of the reference's nearest found"),
    _of("embedding", "duplicate_agreement", "higher", _SHARE, "duplicates in common, of all"),
    _of("segmentation", "mask_iou", "higher", _SHARE, "mean IoU with the reference's masks"),
    _of("segmentation", "miou", "higher", _SHARE, "mean IoU with the ground truth's masks"),
    _of("segmentation", "miou_drop", "lower", _DROP, "mean IoU lost against the reference"),
    _of("speech", "token_agreement", "higher", _SHARE, "share of tokens that are the reference's"),
    _of("speech", "wer", "lower", _NOT_NEGATIVE, "word error rate"),
    _of("speech", "wer_rise", "lower", _NOT_NEGATIVE, "word error rate gained on the reference"),
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
    Metric("throughput", "/s", "higher", _POSITIVE, "most inferences a second", relative=True),
    Metric("load_throughput", "/s", "higher", _POSITIVE, "answers a second under load", True),
    _time("load_mean", "mean latency under load"),
    _time("load_p50", "median latency under load"),
    _time("load_p90", "90th percentile of the latency under load"),
    _time("load_p95", "95th percentile of the latency under load"),
    _time("load_p99", "99th percentile of the latency under load"),
    Metric("load_failures", "ratio", "lower", _DROP, "share of requests that failed under load"),
    Metric("queue_mean", "ms", "lower", _POSITIVE, "mean time in the server's queue"),
    Metric("queue_p95", "ms", "lower", _POSITIVE, "95th percentile of the time in its queue"),
    Metric(
        "fallback_nodes", "value", "lower", _NOT_NEGATIVE, "nodes that ran elsewhere than asked"
    ),
    Metric("memcpy_nodes", "value", "lower", _NOT_NEGATIVE, "copies between host and device"),
)

PER_OUTPUT = (
    "cosine",
    "centred_cosine",
    "cosine_mean",
    "cosine_p1",
    "max_error",
    "mean_error",
    "outside",
    "snr_db",
)
"""What may be limited for one output alone."""

FAILURES = "load_failures"

UNDER_LOAD = tuple(metric.name for metric in _ALL if metric.name.startswith(("load_", "queue_")))
"""What only a server under load has."""

TIMED_UNDER_LOAD = tuple(name for name in UNDER_LOAD if name != FAILURES)
"""Those of them that have noise."""

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


def _by_precision(*limits: float) -> dict[str, float]:
    return dict(zip(_SIMILARITY, limits, strict=True))


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
        "top1_drop": _by_precision(0.001, 0.002, 0.005, 0.01, 0.02, 0.02),
        "top5_drop": _by_precision(0.001, 0.002, 0.005, 0.01, 0.02, 0.02),
        "top1_agreement": _by_precision(0.998, 0.99, 0.98, 0.95, 0.9, 0.9),
        "embedding_cosine": _by_precision(0.9999, 0.9995, 0.999, 0.99, 0.95, 0.95),
        "recall_at_k": _by_precision(0.99, 0.98, 0.97, 0.93, 0.85, 0.85),
        "duplicate_agreement": _by_precision(0.99, 0.98, 0.97, 0.9, 0.8, 0.8),
        "mask_iou": _by_precision(0.995, 0.99, 0.98, 0.95, 0.85, 0.85),
        "miou_drop": _by_precision(0.001, 0.002, 0.005, 0.01, 0.02, 0.02),
        "token_agreement": _by_precision(0.99, 0.98, 0.97, 0.95, 0.9, 0.9),
        "wer_rise": _by_precision(0.002, 0.003, 0.005, 0.01, 0.02, 0.02),
        "p5": {"cpu": "+10%", "default": "+5%"},
        "p50": {"cpu": "+25%", "default": "+5%"},
        "memory_growth": {"default": "16 MiB"},
        "device_memory_growth": {"default": "16 MiB"},
        "cold_start": {"default": "60 s"},
        "fallback_nodes": {"default": 0},
        "load_failures": {"default": 0},
        "load_p50": {"cpu": "+25%", "default": "+10%"},
    }
)
"""Metric -> its defaults as a user would write them: by precision, class of hardware, or all."""
