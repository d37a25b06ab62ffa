"""Latencies as counts in narrow bins: takes nanoseconds, gives moments and percentiles. Pure.

The bins are HdrHistogram's: exact below 2 µs, from there on 1024 to each doubling, so that no value
is off by more than 0.05 %. Histograms of several processes or hosts are merged by adding their
counts, which no set of percentiles allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BITS = 11
_HALF = 1 << (_BITS - 1)
_NS_A_MS = 1e6


@dataclass(frozen=True)
class Histogram:
    """Latencies of some requests.

    Attributes:
        counts: Bin -> how many lie in it.
        sum_ms: All of them together, exactly; so the mean is no bin's.
        squares_ms: The same of their squares.
        least_ms: The least of all, exactly.
        most_ms: The most of all, exactly.
    """

    counts: Mapping[int, int] = field(default_factory=dict, repr=False)
    sum_ms: float = 0.0
    squares_ms: float = 0.0
    least_ms: float = math.inf
    most_ms: float = 0.0

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return sum(self.counts.values())

    @property
    def mean_ms(self) -> float:
        """The mean; NaN of none."""
        return self.sum_ms / self.count if self.counts else math.nan

    @property
    def sd_ms(self) -> float:
        """The standard deviation; NaN of fewer than two."""
        count = self.count
        if count < 2:
            return math.nan
        spread = self.squares_ms - self.sum_ms**2 / count
        return math.sqrt(max(0.0, spread) / (count - 1))

    def percentile_ms(self, percent: float) -> float:
        """Return the least latency that this share of all do not exceed; NaN of none.

        Raises:
            ValueError: No percentage.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is no percentage")
        if not self.counts:
            return math.nan
        wanted = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        seen = 0
        for each in sorted(self.counts):
            seen += self.counts[each]
            if seen >= wanted:
                break
        return min(max(_middle_ns(each) / _NS_A_MS, self.least_ms), self.most_ms)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain types; `of_json` reads them."""
        if not self.counts:
            return {"bins": [], "counts": []}
        bins = sorted(self.counts)
        return {
            "bins": bins,
            "counts": [self.counts[each] for each in bins],
            "sum_ms": self.sum_ms,
            "squares_ms": self.squares_ms,
            "least_ms": self.least_ms,
            "most_ms": self.most_ms,
        }


def of_json(written: Mapping[str, Any]) -> Histogram:
    """Read what `as_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is nothing of the kind.
    """
    counts = {
        int(each): int(count)
        for each, count in zip(written["bins"], written["counts"], strict=True)
    }
    if not counts:
        return Histogram()
    moments = ("sum_ms", "squares_ms", "least_ms", "most_ms")
    return Histogram(counts, **{name: float(written[name]) for name in moments})


def of_latencies(latencies_ns: Iterable[int] | npt.NDArray[np.int64]) -> Histogram:
    """Count latencies, negative ones as none at all."""
    import numpy as np

    values = (
        np.fromiter(latencies_ns, np.int64)
        if not isinstance(latencies_ns, np.ndarray)
        else (latencies_ns.astype(np.int64))
    )
    if not len(values):
        return Histogram()
    values = np.maximum(values, 0)
    bins, counts = np.unique(_bins(values), return_counts=True)
    in_ms = values / _NS_A_MS
    return Histogram(
        dict(zip(bins.tolist(), counts.tolist(), strict=True)),
        float(in_ms.sum()),
        float((in_ms**2).sum()),
        float(in_ms.min()),
        float(in_ms.max()),
    )


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all that several hold."""
    counts: dict[int, int] = {}
    total = squares = most = 0.0
    least = math.inf
    for histogram in histograms:
        for each, count in histogram.counts.items():
            counts[each] = counts.get(each, 0) + count
        total += histogram.sum_ms
        squares += histogram.squares_ms
        least, most = min(least, histogram.least_ms), max(most, histogram.most_ms)
    return Histogram(counts, total, squares, least, most)


def _bins(values_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    # frexp gives the number of bits exactly up to 2^53 ns, a hundred days.
    bits = np.frexp(values_ns.astype(np.float64))[1].astype(np.int64)
    shifts = np.maximum(bits - _BITS, 0)
    bins: npt.NDArray[np.int64] = shifts * _HALF + (values_ns >> shifts)
    return bins


def _middle_ns(bin_: int) -> float:
    if bin_ < 2 * _HALF:
        return float(bin_)
    shift = bin_ // _HALF - 1
    return ((bin_ - shift * _HALF) + 0.5) * float(1 << shift)
