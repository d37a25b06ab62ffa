"""The rules of other tools, applied by their own code: is the second build called slower?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from asv.commands.compare import _is_result_better
from pytest_benchmark.utils import parse_compare_fail
from scipy.stats import mannwhitneyu

Sides = Sequence[dict[str, float]]
Means = Sequence[Sequence[float]]

_ASV_FACTOR = 1.05
_GOOGLE_ALPHA = 0.05  # of tools/compare.py


def pytest_benchmark(field: str) -> Callable[[Sides, Means], bool]:
    """Return `--benchmark-compare-fail=FIELD:5%`."""
    check = parse_compare_fail(f"{field}:5%")
    return lambda sides, _means: bool(check.fails(sides[1], sides[0]))


def asv(_sides: Sides, means: Means) -> bool:
    """`asv compare --factor 1.05`: a Mann-Whitney test at 0.002, and the medians' ratio."""
    stats = [_asv_stats(samples) for samples in means]
    medians = [_median(samples) for samples in means]
    before, after = zip(stats, means, strict=True)
    return bool(_is_result_better(medians[0], medians[1], before, after, _ASV_FACTOR))


def google_benchmark(_sides: Sides, means: Means) -> bool:
    """`compare.py` on repetitions: a two-sided U-test at 0.05, and the second is slower."""
    p = mannwhitneyu(means[0], means[1], alternative="two-sided").pvalue
    return bool(p < _GOOGLE_ALPHA and _median(means[1]) > _median(means[0]))


PEERS: dict[str, Callable[[Sides, Means], bool]] = {
    "pytest-benchmark `median:5%`": pytest_benchmark("median"),
    "pytest-benchmark `min:5%`": pytest_benchmark("min"),
    "asv `compare`, factor 1.05": asv,
    "google-benchmark U-test, 0.05": google_benchmark,
}


def _asv_stats(samples: Sequence[float]) -> dict[str, Any]:
    """The interval that asv falls back to where its test has too few samples."""
    return {"repeat": len(samples), "ci_99_a": -math.inf, "ci_99_b": math.inf}


def _median(samples: Sequence[float]) -> float:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
