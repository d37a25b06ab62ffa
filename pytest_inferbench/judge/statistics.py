"""The statistics that verdicts rest on: takes numbers, gives quantiles, spreads and intervals.

Pure: the standard library's mathematics and nothing else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds; all three are log ratios or all three are values."""

    low: float
    value: float
    high: float


def student_t_cdf(t: float, df: int) -> float:
    """Return P(T <= t) for Student's t with a whole number of degrees of freedom.

    The classical finite sums in cos(theta), theta = atan(t / sqrt(df)): exact, and short enough
    not to need scipy.
    """
    theta = math.atan2(t, math.sqrt(df))
    sin, cos = math.sin(theta), math.cos(theta)
    odd = df % 2 == 1
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1, df // 2 + 1):
        total += term
        # the next coefficient: 2/3, 4/5, ... for odd df; 1/2, 3/4, ... for even
        term *= cos * cos * ((2 * k) / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    two_sided = 2 / math.pi * (theta + sin * total) if odd else sin * total
    return min(1.0, max(0.0, 0.5 + two_sided / 2))


def student_t_quantile(probability: float, df: int) -> float:
    """Return the t with P(T <= t) = probability, by bisection."""
    if not 0 < probability < 1:
        raise ValueError(f"a quantile needs a probability inside (0, 1), not {probability}")
    low, high = -1.0, 1.0
    while student_t_cdf(high, df) < probability:
        high *= 2
    while student_t_cdf(low, df) > probability:
        low *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if student_t_cdf(middle, df) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def normal_quantile(probability: float) -> float:
    """Return the standard normal's quantile."""
    return statistics.NormalDist().inv_cdf(probability)


def log_median(values: Sequence[float]) -> float:
    """Return the median of the logarithms: one session's figure from its runs."""
    return statistics.median(math.log(value) for value in values)
