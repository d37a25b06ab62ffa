"""How a cost grows with a size: takes (size, cost) pairs, gives the exponent with its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from pytest_inferbench.judge.statistics import student_t_quantile


def exponent(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return low, value, high of b in cost = a * size ** b: least squares of logarithms, 95 %."""
    xs = [math.log(size) for size, _ in points]
    ys = [math.log(cost) for _, cost in points]
    x_mean, y_mean = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    left = [y - y_mean - slope * (x - x_mean) for x, y in zip(xs, ys, strict=True)]
    degrees = len(points) - 2
    error = math.sqrt(sum(each**2 for each in left) / degrees / spread)
    half = student_t_quantile(0.975, degrees) * error
    return slope - half, slope, slope + half
