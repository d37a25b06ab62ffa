"""Judges a rate, of which more is better, by the time that one takes. Pure.

Takes rates a second and a budget such as `throughput = "-5%"` or `"100 /s"`; gives a judgement in
the same terms. The statistics are those of `judge/runs.py`, which know only that less is better: so
a rate is turned into milliseconds, and what is said of them is turned back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from pytest_inferbench.judge.rounds import Compared, judge_slowdown
from pytest_inferbench.judge.runs import Run, StoredSessions, judge_objective, judge_stored
from pytest_inferbench.judge.statistics import Interval
from pytest_inferbench.judge.verdict import Judgement
from pytest_inferbench.settings.budgets import Budget

_MS_A_SECOND = 1000.0


def judge_rate_objective(budget: Budget, rates: Sequence[float], comparisons: int = 1) -> Judgement:
    """Judge runs against an absolute objective: at least so many a second."""
    times_ms = [_inverse(rate) for rate in rates]
    return _as_rate(judge_objective(_as_time(budget), times_ms, comparisons), budget)


def judge_rate_stored(
    budget: Budget,
    runs: Sequence[Run],
    stored: StoredSessions,
    *,
    hardware: str,
    comparisons: int,
    same_speed: float,
) -> Judgement:
    """Judge this session's rates against those of the recorded sessions; see `judge_stored`."""
    judged = judge_stored(
        _as_time(budget),
        _as_times(runs),
        StoredSessions([_as_times(session) for session in stored.sessions], stored.label),
        hardware=hardware,
        comparisons=comparisons,
        same_speed=same_speed,
    )
    return _as_rate(judged, budget)


def judge_rate_slowdown(budget: Budget, compared: Compared, comparisons: int) -> Judgement:
    """Judge rounds beside another side, whose figures are milliseconds; see `judge_slowdown`."""
    return _as_rate(judge_slowdown(_as_time(budget), compared, comparisons), budget)


def _as_time(budget: Budget) -> Budget:
    """Return the limit on the time that allows just what the limit on the rate does."""
    relative = budget.kind == "relative"
    limit = 1 / (1 - budget.limit) - 1 if relative else _inverse(budget.limit)
    return dataclasses.replace(budget, limit=limit, better="lower", unit="ms")


def _as_times(runs: Sequence[Run]) -> list[Run]:
    return [Run(_inverse(run.value), run.probe_ms) for run in runs]


def _as_rate(judged: Judgement, budget: Budget) -> Judgement:
    change, visible = judged.change, judged.smallest_visible
    return dataclasses.replace(
        judged,
        unit=budget.unit,
        value=_inverse(judged.value),
        baseline=None if judged.baseline is None else _inverse(judged.baseline),
        # more time at most is fewer a second at least
        change=change and Interval(*map(_turned, (change.high, change.value, change.low))),
        smallest_visible=None if visible is None else _turned(visible),
        detail=f"by the time that one takes: {judged.detail}",
    )


def _turned(change: float) -> float:
    # no time at all, as an interval without a bound has it, is no end of a rate
    return math.inf if change <= -1 else 1 / (1 + change) - 1


def _inverse(value: float) -> float:
    return value if math.isnan(value) else _MS_A_SECOND / value
