"""Judges two builds that were measured side by side: rounds of interleaved bursts, as they come.

Takes bursts of two sides, gives a round's log ratios; takes the log ratios so far, gives a
judgement. Pure.

A round is one pair of fresh workers. Its ratio is the median over neighbouring bursts of the ratio
of the statistic *within* them, so that a machine that changes its speed in the middle of a round
changes both. One statistic is judged against one budget by its own confidence sequence; the other
statistics explain a verdict, and none of them makes one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_inferbench.judge.runs import ERROR_BUDGET, PASS_ERROR
from pytest_inferbench.judge.sequence import bounds, centre, fewest_rounds
from pytest_inferbench.judge.statistics import Interval
from pytest_inferbench.judge.verdict import Judgement, Verdict, unjudged
from pytest_inferbench.settings.budgets import Budget

Nanoseconds = npt.NDArray[np.int64]
Bursts = Sequence[tuple[Nanoseconds, Nanoseconds]]
"""Of the one side and the other, taken right after each other in either order."""

_RANKS = {"p5": 5, "p50": 50, "p90": 90, "p99": 99}

_FEWEST_FOR_RANK = {"p90": 20, "p99": 200}
"""Samples in a burst below which a high percentile of it is no more than its largest."""


@dataclass(frozen=True)
class Compared:
    """The rounds so far, of one statistic.

    Attributes:
        logs: The log ratio of each round: how much longer the candidate took.
        value: The candidate's figure, the median over the rounds.
        partner: The other side's.
        seconds: What the rounds have taken.
        label: How to name the other side in a message.
        set_aside: Why other rounds do not count, a reason each.
    """

    logs: Sequence[float]
    value: float
    partner: float
    seconds: float
    label: str
    set_aside: Sequence[str] = ()

    @property
    def centre(self) -> float:
        """The log ratio that the rounds point at."""
        return centre(self.logs)


def log_ratio(bursts: Bursts, statistic: str) -> float:
    """Return by how much the second side of a round takes longer, as a logarithm."""
    fewest = min(min(len(one), len(other)) for one, other in bursts)
    if fewest < _FEWEST_FOR_RANK.get(statistic, 1):  # too few in each: all of them together
        bursts = [
            (
                np.concatenate([one for one, _ in bursts]),
                np.concatenate([other for _, other in bursts]),
            )
        ]
    return statistics.median(
        math.log(figure(other, statistic) / figure(one, statistic)) for one, other in bursts
    )


def figure(ns: Nanoseconds, statistic: str) -> float:
    """Return a statistic of samples, in nanoseconds; never 0, so that ratios exist."""
    value = ns.mean() if statistic == "mean" else np.percentile(ns, _RANKS[statistic])
    return max(1.0, float(value))


def judge_slowdown(budget: Budget, compared: Compared, comparisons: int) -> Judgement:
    """Judge whether the candidate takes longer than the other side by more than a limit.

    Args:
        budget: A relative limit; lower is better.
        compared: The rounds so far.
        comparisons: How many gated comparisons the session holds: they share the error budget.
    """
    if not compared.logs:
        return _nothing(budget, compared)
    allowed = math.log1p(budget.limit)
    change = _bounds(compared.logs, comparisons)
    if change.low > allowed:
        verdict, code = Verdict.REGRESSED, "IB-604"
    elif change.high < 0 and change.value < -allowed:
        verdict, code = Verdict.IMPROVED, "IB-600"
    elif change.high < allowed:
        verdict, code = Verdict.PASS, "IB-600"
    else:
        verdict, code = Verdict.INCONCLUSIVE, "IB-618"
    # The upper bound comes first: to pass takes fewer rounds than to be red. Until the lower one is
    # there nothing is excluded below, which as a fraction is -100 %.
    is_bounded = math.isfinite(change.high)
    visible = change.value - change.low
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=compared.value,
        unit=budget.unit,
        budget=budget.text,
        baseline=compared.partner,
        change=Interval(*map(math.expm1, (change.low, change.value, change.high)))
        if is_bounded
        else None,
        smallest_visible=math.expm1(allowed + visible) if math.isfinite(visible) else None,
        detail=_detail(
            "" if is_bounded else f"about {_signed(change.value)}, in no bounds yet",
            _undecided(change, comparisons, len(compared.logs)) if code == "IB-618" else "",
            compared,
        ),
    )


def judge_speedup(budget: Budget, compared: Compared, comparisons: int) -> Judgement:
    """Judge whether the candidate is as many times faster than the other side as it must be.

    Args:
        budget: The least speed-up; higher is better.
        compared: The rounds so far.
        comparisons: How many gated comparisons the session holds.
    """
    if not compared.logs:
        return _nothing(budget, compared)
    wanted = math.log(budget.limit)
    # of the time's bounds the lower one has the small error, and it says "too slow"
    longer = _bounds(compared.logs, comparisons)
    if longer.low > -wanted:
        verdict, code = Verdict.REGRESSED, "IB-605"
    elif longer.high < -wanted:
        verdict, code = Verdict.PASS, "IB-600"
    else:
        verdict, code = Verdict.INCONCLUSIVE, "IB-618"
    least = "0" if math.isinf(longer.high) else f"{math.exp(-longer.high):.3g}"
    most = "any" if math.isinf(longer.low) else f"{math.exp(-longer.low):.3g}"
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=math.exp(-longer.value),
        unit=budget.unit,
        budget=budget.text,
        detail=_detail(
            f"between {least} and {most} times as fast",
            _undecided(longer, comparisons, len(compared.logs)) if code == "IB-618" else "",
            compared,
        ),
    )


def explanation(metric: str, others: Mapping[str, Sequence[float]]) -> str:
    """Say what the other statistics showed of a slower one; they explain, they never accuse.

    Args:
        metric: What is slower.
        others: The log ratios of the rounds, by statistic.
    """
    floor, median = others.get("p5"), others.get("p50")
    if metric != "p5" and floor and bounds(floor, PASS_ERROR, PASS_ERROR).low <= 0:
        return (
            f"the floor (p5) is {_signed(centre(floor))}: more waiting or contention,"
            " rather than more work"
        )
    if metric == "p5" and median:
        return f"the median is {_signed(centre(median))}"
    return ""


def _bounds(logs: Sequence[float], comparisons: int) -> Interval:
    return bounds(logs, ERROR_BUDGET / comparisons, PASS_ERROR)


def _nothing(budget: Budget, compared: Compared) -> Judgement:
    detail = _detail("no round counts", "", compared)
    return unjudged(budget, Verdict.INCONCLUSIVE, "IB-618", detail)


def _detail(found: str, undecided: str, compared: Compared) -> str:
    rounds = len(compared.logs)
    counted = f"{rounds} round" if rounds == 1 else f"{rounds} rounds"
    used = f"{counted} beside {compared.label} in {compared.seconds:.0f} s"
    aside = ""
    if compared.set_aside:
        aside = f"set aside: {len(compared.set_aside)} more, the first for {compared.set_aside[0]}"
    return "; ".join(filter(None, [found, undecided, used, aside]))


def _undecided(change: Interval, comparisons: int, rounds: int) -> str:
    needed = fewest_rounds(ERROR_BUDGET / comparisons)
    if rounds < needed:
        return f"{needed} rounds are the least that can tell (`[latency] compare_for`)"
    if not math.isfinite(change.low) or not math.isfinite(change.high):
        return "the rounds contradict one another: a quieter machine decides"
    return "the interval holds the limit: more time (`[latency] compare_for`) narrows it"


def _signed(log: float) -> str:
    return f"{math.expm1(log):+.1%}"
