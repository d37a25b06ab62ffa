"""What can be said of a ratio while rounds still come in: an anytime-valid confidence sequence.

Takes the log ratio of each round so far; gives bounds that hold at every look at once, so one may
stop whenever they decide. Pure: numbers in, numbers out.

What it rests on is made true by how rounds are taken, and needs no variance and no shape: each
round has fresh workers in roles drawn at random, so of two equal builds a round's log ratio is as
likely x as -x. A build that is slower by theta shifts that by theta. Then, whatever came before,
the signs of x - theta are fair coins, and

    product over rounds of exp(k * (x - theta)) / cosh(k * (x - theta))

is a fair bet against "theta or less" for every k > 0: its mean is 1. So is the average over a fixed
set of k, and by Ville's inequality it ever exceeds 1/alpha with probability alpha at most. An
outlier multiplies it by 2 at most, so a heavy tail accuses nobody; for the same reason nothing can
be decided in fewer rounds than log2(1/alpha).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from pytest_inferbench.judge.statistics import Interval

_STEEPNESS = (12.5, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0)
"""One bet each for effects of about 8 %, 4 %, ... 0.125 %: what latencies differ by."""

_TOLERANCE = 1e-6


def evidence(logs: Sequence[float], theta: float) -> float:
    """Return the log of the bet against a ratio of `theta` (a log) or less."""
    totals = [sum(_gain(k * (x - theta)) for x in logs) for k in _STEEPNESS]
    most = max(totals)
    return most + math.log(statistics.fmean(math.exp(total - most) for total in totals))


def lower_bound(logs: Sequence[float], alpha: float) -> float:
    """Return below which log ratio the true one does not lie, `-inf` while there are too few.

    Wrong at any look, ever, with probability `alpha` at most.
    """
    needed = -math.log(alpha)
    low = min(logs, default=0.0) - 1.0
    # far below every round each of them wins its bet whole, and more cannot be won
    if evidence(logs, low) < needed:
        return -math.inf
    high = max(logs)
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if evidence(logs, middle) >= needed else (low, middle)
    return low


def bounds(logs: Sequence[float], alpha_low: float, alpha_high: float) -> Interval:
    """Return an estimate of the log ratio between bounds that hold at every look.

    Args:
        logs: The log ratio of each round, one at least.
        alpha_low: The error of the lower bound.
        alpha_high: The error of the upper one.
    """
    low = lower_bound(logs, alpha_low)
    high = -lower_bound([-x for x in logs], alpha_high)
    return Interval(low, centre(logs), high)


def centre(logs: Sequence[float]) -> float:
    """Return the centre of symmetry: the median of the means of all pairs (Hodges-Lehmann)."""
    return statistics.median((one + other) / 2 for i, one in enumerate(logs) for other in logs[i:])


def fewest_rounds(alpha: float) -> int:
    """Return how many rounds a bound needs at the least, if all of them agree."""
    return math.ceil(math.log2(1 / alpha))


def _gain(y: float) -> float:
    """The log of exp(y) / cosh(y), without overflow."""
    return (
        math.log(2.0) - math.log1p(math.exp(-2 * y))
        if y > 0
        else (math.log(2.0) + 2 * y - math.log1p(math.exp(2 * y)))
    )
