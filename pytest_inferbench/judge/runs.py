"""Judges a statistic of repeated runs: against an absolute objective, or a stored baseline.

Takes one figure a run (and the same of earlier sessions); gives a judgement. Pure.

Against a stored baseline nothing can be interleaved, so the unit is the session. A session's
figure is the median of the logarithms of its runs. The change is the difference to the mean of the
recorded sessions, and its bound uses the spread *between* sessions: measured when there are
`MEASURED_FROM` or more, else the documented default of the hardware class. Three things can turn
"regressed" into "inconclusive", none can turn anything into "regressed": a run of this session that
lies within the limit, a machine whose own speed has dropped, too few valid runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.judge.statistics import (
    Interval,
    log_median,
    normal_quantile,
    student_t_quantile,
)
from pytest_inferbench.judge.verdict import Judgement, Verdict
from pytest_inferbench.settings.budgets import Budget

ERROR_BUDGET = 0.01
"""Sessions red by noise: at most this share, however many comparisons they hold."""

PASS_ERROR = 0.05
"""A build exactly at its limit is called pass at most this often, per comparison."""

MEASURED_FROM = 5
"""Recorded sessions from which their own spread is used."""

MIN_RUNS = 3
"""Valid runs below which nothing is said."""

# Standard deviation between sessions of the log of each statistic, by hardware class: what stands
# in until a cell has MEASURED_FROM sessions. Wide on purpose: a gross regression is heard on the
# first day, a small one needs sessions or an A/B run.
DEFAULT_SPREAD: dict[str, dict[str, float]] = {
    "cpu": {
        "p5": 0.05,
        "p50": 0.12,
        "mean": 0.18,
        "p90": 0.20,
        "p99": 0.40,
        "memory": 0.02,
        "cold_start": 0.25,
    },
    "nvidia": {
        "p5": 0.02,
        "p50": 0.03,
        "mean": 0.05,
        "p90": 0.06,
        "p99": 0.15,
        "memory": 0.02,
        "cold_start": 0.25,
    },
    "jetson": {
        "p5": 0.03,
        "p50": 0.04,
        "mean": 0.06,
        "p90": 0.08,
        "p99": 0.20,
        "memory": 0.02,
        "cold_start": 0.25,
    },
}
_OTHER_SPREAD = 0.20

# Sessions recorded within minutes of each other agree better than sessions of different days do,
# so a measured spread is never taken to be below this share of the class's.
_SPREAD_FLOOR_SHARE = 1 / 3


@dataclass(frozen=True)
class StoredSessions:
    """A cell's recorded figures of one statistic.

    Attributes:
        runs: One list a session, one figure a run.
        probe_ms: The machine's own speed then, one a session; empty where it was not recorded.
        label: How to name them in a message.
    """

    runs: Sequence[Sequence[float]]
    probe_ms: Sequence[float] = ()
    label: str = "the baseline"


def default_spread(hardware: str, statistic: str) -> float:
    """Return the documented spread between sessions of a hardware class."""
    return DEFAULT_SPREAD.get(hardware.partition("-")[0], {}).get(statistic, _OTHER_SPREAD)


def judge_objective(budget: Budget, runs: Sequence[float], comparisons: int = 1) -> Judgement:
    """Judge runs against an absolute objective such as `p99 = "30 ms"`.

    Regressed when the whole interval of the runs' mean log lies above it, pass when below.
    """
    if len(runs) < MIN_RUNS:
        return _too_few(budget, runs)
    logs = [math.log(run) for run in runs]
    centre = statistics.fmean(logs)
    error = statistics.stdev(logs) / math.sqrt(len(logs))
    df = len(logs) - 1
    low = math.exp(centre - student_t_quantile(1 - ERROR_BUDGET / comparisons, df) * error)
    high = math.exp(centre + student_t_quantile(1 - PASS_ERROR, df) * error)
    if low > budget.limit:
        verdict, code = Verdict.REGRESSED, "IB-602"
    elif high < budget.limit:
        verdict, code = Verdict.PASS, "IB-600"
    else:
        verdict, code = Verdict.INCONCLUSIVE, "IB-611"
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=math.exp(centre),
        unit=budget.unit,
        budget=budget.text,
        detail=f"between {low:.4g} and {high:.4g} {budget.unit} over {len(runs)} runs"
        + ("; more runs narrow it ([latency] runs)" if code == "IB-611" else ""),
    )


def judge_stored(
    budget: Budget,
    runs: Sequence[float],
    stored: StoredSessions | None,
    *,
    hardware: str,
    comparisons: int,
    probe_ms: float | None = None,
) -> Judgement:
    """Judge this session's runs against the recorded sessions of the same cell.

    Args:
        budget: A relative limit on this statistic; lower is better.
        runs: This session's figure of each valid run.
        stored: The recorded sessions, or None when there is no baseline yet.
        hardware: The hardware id, whose class gives the default spread.
        comparisons: How many gated comparisons the session holds: they share `ERROR_BUDGET`.
        probe_ms: The machine's own speed now.
    """
    if len(runs) < MIN_RUNS:
        return _too_few(budget, runs)
    value = math.exp(log_median(runs))
    if stored is None or not stored.runs:
        return Judgement(
            metric=budget.metric,
            verdict=Verdict.MISSING,
            code="IB-701",
            value=value,
            unit=budget.unit,
            budget=budget.text,
            detail="no baseline yet: record one with --update-baselines",
        )
    change, to_red = _change(budget.metric, runs, stored, hardware, comparisons)
    slower_machine = _slowdown(probe_ms, stored.probe_ms)
    allowed = math.log1p(budget.limit)
    verdict, code, reason = _decide(runs, change, stored, allowed, slower_machine)
    measured = len(stored.runs) >= MEASURED_FROM
    spread = "with their own spread" if measured else "with the default spread of this hardware"
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=value,
        unit=budget.unit,
        budget=budget.text,
        baseline=math.exp(_centre(stored)),
        change=Interval(*(math.expm1(x) for x in (change.low, change.value, change.high))),
        smallest_visible=math.expm1(allowed + to_red),
        detail="; ".join(
            part for part in (reason, f"{len(runs)} runs against {stored.label}", spread) if part
        ),
    )


def _centre(stored: StoredSessions) -> float:
    return statistics.fmean(log_median(session) for session in stored.runs)


def _change(
    statistic: str,
    runs: Sequence[float],
    stored: StoredSessions,
    hardware: str,
    comparisons: int,
) -> tuple[Interval, float]:
    """The log change with its bounds, and the distance that the lower bound keeps."""
    sessions = [log_median(session) for session in stored.runs]
    count = len(sessions)
    spread = default_spread(hardware, statistic)
    share = ERROR_BUDGET / comparisons
    if count >= MEASURED_FROM:
        spread = max(statistics.stdev(sessions), spread * _SPREAD_FLOOR_SHARE)
        to_red = student_t_quantile(1 - share, count - 1)
        to_pass = student_t_quantile(1 - PASS_ERROR, count - 1)
    else:
        to_red, to_pass = normal_quantile(1 - share), normal_quantile(1 - PASS_ERROR)
    error = spread * math.sqrt(1 + 1 / count)
    value = log_median(runs) - statistics.fmean(sessions)
    return Interval(value - to_red * error, value, value + to_pass * error), to_red * error


def _slowdown(now_ms: float | None, then_ms: Sequence[float]) -> float:
    """How much slower the machine itself is, as a log; never below zero."""
    if now_ms is None or not then_ms:
        return 0.0
    return max(0.0, math.log(now_ms / statistics.median(then_ms)))


_CALMER = "above the limit, but {}: measure again on a quiet machine"


def _decide(
    runs: Sequence[float],
    change: Interval,
    stored: StoredSessions,
    allowed: float,
    slower_machine: float,
) -> tuple[Verdict, str, str]:
    if change.low > allowed:
        centre = _centre(stored)
        if min(math.log(run) for run in runs) - centre <= allowed:
            return Verdict.INCONCLUSIVE, "IB-613", _CALMER.format("some runs lie within it")
        if change.low - slower_machine <= allowed:
            slower = math.expm1(slower_machine)
            reason = f"the machine itself is {slower:.0%} slower than it was"
            return Verdict.INCONCLUSIVE, "IB-614", _CALMER.format(reason)
        return Verdict.REGRESSED, "IB-603", ""
    if change.high < 0 and change.value < -allowed:
        return Verdict.IMPROVED, "IB-600", "less by more than the limit"
    if change.high < allowed:
        return Verdict.PASS, "IB-600", "within the limit"
    missing = MEASURED_FROM - len(stored.runs)
    decides = (
        f"after {missing} more recorded, the cell's own spread counts"
        if missing > 0
        else "a quieter machine narrows it; this budget may be too small for this one"
    )
    return Verdict.INCONCLUSIVE, "IB-610", f"the interval holds the limit: {decides}"


def _too_few(budget: Budget, runs: Sequence[float]) -> Judgement:
    return Judgement(
        metric=budget.metric,
        verdict=Verdict.INCONCLUSIVE,
        code="IB-612",
        value=math.exp(log_median(runs)) if runs else math.nan,
        unit=budget.unit,
        budget=budget.text,
        detail=f"{MIN_RUNS} runs that count are needed, and there were {len(runs)}",
    )
