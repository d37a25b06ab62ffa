"""Which range of a tensor's values eight bits should cover: takes values, gives low and high.

Pure: knows neither graphs nor runtimes. Values are kept as a histogram of fixed size, whose bins
are exact fractions of a power of two: the same values make the same histogram in any order and in
any parts. Runs in the worker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Range = tuple[float, float]

SIDE_BINS = 4096
"""Bins on either side of zero."""

_LEVELS = 256
_CANDIDATES = 128  # thresholds that are tried for the least entropy
_CHUNK = 1 << 20
_LOWEST_POWER = -100  # below it everything is zero, which no range of a tensor depends on
_MISSED = 1e-9  # a bin's share where the quantized tensor has no value at all


class Histogram:
    """How often a tensor had which values, from -2^power to 2^power, and its extremes."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(2 * SIDE_BINS, np.int64)
        self.power = _LOWEST_POWER
        self.low, self.high = np.inf, -np.inf
        self.is_finite = True

    @property
    def width(self) -> float:
        """How wide a bin is."""
        return float(2.0**self.power / SIDE_BINS)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values; those that are not finite are only noted."""
        flat = values.reshape(-1)
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK].astype(np.float32, copy=False)
            low, high = float(part.min()), float(part.max())
            if not np.isfinite(low + high):
                self.is_finite = False
                continue
            self.low, self.high = min(self.low, low), max(self.high, high)
            if most := max(-low, high, 0.0):
                self._reach(int(np.frexp(most)[1]))
            bins = np.floor(part * np.float32(1 / self.width)).astype(np.int32) + SIDE_BINS
            self.counts += np.bincount(bins, minlength=2 * SIDE_BINS)

    def _reach(self, power: int) -> None:
        """Widen the bins until 2^power, which lies above every value, is the end."""
        if power <= self.power:
            return
        factor = min(2 ** (power - self.power), SIDE_BINS)
        wider = self.counts.reshape(-1, factor).sum(axis=1)
        half = len(wider) // 2
        self.counts = np.zeros(2 * SIDE_BINS, np.int64)
        self.counts[SIDE_BINS - half : SIDE_BINS + half] = wider
        self.power = power


def percentile(histogram: Histogram, share: float, *, symmetric: bool) -> Range:
    """Return the range that holds a share of the values, in percent.

    Of the rest, half lies at either end; a symmetric range leaves out the values that are furthest
    from zero instead. Never wider than the values are.
    """
    counts, width, rest = histogram.counts, histogram.width, 1 - share / 100
    if symmetric:
        edge = _bins_holding(_folded(counts), 1 - rest) * width
        return _within(histogram, -edge, edge)
    below = _bins_holding(counts[::-1], 1 - rest / 2)
    above = _bins_holding(counts, 1 - rest / 2)
    return _within(histogram, (SIDE_BINS - below) * width, (above - SIDE_BINS) * width)


def least_entropy(histogram: Histogram, *, symmetric: bool) -> Range:
    """Return the range whose eight bits say most of what the values say.

    Of the thresholds on the distance from zero, it is the one at which the values, those beyond it
    put on its edge, differ least from themselves after quantization (Kullback and Leibler). Zero
    itself is exact at any scale and says nothing of it, so its bins count as their neighbours do.
    """
    counts = histogram.counts.astype(np.float64)
    for zero, beside in ((SIDE_BINS, SIDE_BINS + 1), (SIDE_BINS - 1, SIDE_BINS - 2)):
        counts[zero] = min(counts[zero], counts[beside])
    levels = _LEVELS // 2 if symmetric else _LEVELS
    best, threshold = np.inf, np.inf
    for bins in _thresholds(histogram):
        inside, clipped = _clipped(counts, histogram, bins, symmetric)
        if len(inside) > levels and (found := _divergence(clipped, inside, levels)) < best:
            best, threshold = found, bins * histogram.width
    return _within(histogram, -threshold, threshold)


def _thresholds(histogram: Histogram) -> list[int]:
    """Return distances from zero in bins, the largest first: of equal ones it is kept."""
    most = max(histogram.high, -histogram.low, 0.0) / histogram.width
    steps = np.linspace(0, np.ceil(most), _CANDIDATES + 1)[1:]
    return sorted({int(step) for step in np.ceil(steps)}, reverse=True)


def _clipped(
    counts: Shares, histogram: Histogram, bins: int, symmetric: bool
) -> tuple[Shares, Shares]:
    """Return the bins within a threshold, and the same with what lies beyond put on the edges."""
    if symmetric:
        line, first, last = _folded(counts), 0, bins
    else:
        below, above = max(-histogram.low, 0.0), max(histogram.high, 0.0)
        line = counts
        first = SIDE_BINS - min(bins, int(np.ceil(below / histogram.width)))
        last = SIDE_BINS + min(bins, int(np.ceil(above / histogram.width)))
    inside = line[first:last]
    clipped = inside.copy()
    if len(clipped):
        clipped[0] += line[:first].sum()
        clipped[-1] += line[last:].sum()
    return inside, clipped


def _divergence(values: Shares, inside: Shares, levels: int) -> float:
    """Return how much of what bins say is lost when they are rounded to levels."""
    total = values.sum()
    if not total:
        return np.inf
    level = np.arange(len(values)) * levels // len(values)
    there = values > 0
    sums = np.bincount(level, inside, minlength=levels)
    sharing = np.bincount(level[there], minlength=levels)
    quantized = np.where(there, (sums / np.maximum(sharing, 1))[level], 0.0)
    quantized /= max(quantized.sum(), 1.0)
    share = values[there] / total
    return float((share * np.log(share / np.maximum(quantized[there], _MISSED))).sum())


def _folded(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Count by the distance from zero."""
    folded: npt.NDArray[Any] = counts[SIDE_BINS:] + counts[SIDE_BINS - 1 :: -1]
    return folded


def _bins_holding(counts: Counts, share: float) -> int:
    """Return the fewest bins from the first on that hold a share of all values."""
    cumulated = np.cumsum(counts)
    # In whole values: a share of one means each of them, whatever a product of floats says.
    wanted = np.ceil(round(share * float(cumulated[-1]), 6))
    return int(np.searchsorted(cumulated, wanted)) + 1


def _within(histogram: Histogram, low: float, high: float) -> Range:
    return max(low, histogram.low), min(high, histogram.high)
