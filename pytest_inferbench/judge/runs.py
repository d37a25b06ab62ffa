"""Judges a statistic of repeated runs: against an absolute objective, or a stored baseline.

Takes one figure a run (and the same of earlier sessions); gives a judgement. Pure.

Against a stored baseline nothing can be interleaved, so the unit is the session. A session's
figure is the median of the logarithms of its runs. The change is the difference to the mean of the
recorded sessions, and its bound uses the spread *between* sessions: measured when there are
`MEASURED_FROM` or more, else the documented default of the hardware class. Like is compared with
like: beside every run the machine's own speed is probed, and runs at another speed are left out.
Three things can turn "regressed" into "inconclusive", none can turn anything into "regressed": a
run of this session that lies within the limit, a machine that is a little slower within what passes
as the same speed, and too few runs that can be compared.
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
from pytest_inferbench.judge.verdict import Judgement, Verdict, unjudged
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
        "device_memory": 0.02,
        "power": 0.10,
        "energy": 0.15,
        "throughput": 0.12,
        "load_throughput": 0.15,
        "load_mean": 0.18,
        "load_p50": 0.15,
        "load_p90": 0.20,
        "load_p95": 0.25,
        "load_p99": 0.40,
    },
    "nvidia": {
        "p5": 0.02,
        "p50": 0.03,
        "mean": 0.05,
        "p90": 0.06,
        "p99": 0.15,
        "memory": 0.02,
        "cold_start": 0.25,
        "device_memory": 0.02,
        "power": 0.05,
        "energy": 0.06,
        "throughput": 0.03,
        "load_throughput": 0.05,
        "load_mean": 0.06,
        "load_p50": 0.05,
        "load_p90": 0.08,
        "load_p95": 0.10,
        "load_p99": 0.20,
    },
    "jetson": {
        "p5": 0.03,
        "p50": 0.04,
        "mean": 0.06,
        "p90": 0.08,
        "p99": 0.20,
        "memory": 0.02,
        "cold_start": 0.25,
        "device_memory": 0.02,
        "power": 0.05,
        "energy": 0.07,
        "throughput": 0.04,
        "load_throughput": 0.06,
        "load_mean": 0.08,
        "load_p50": 0.06,
        "load_p90": 0.10,
        "load_p95": 0.12,
        "load_p99": 0.25,
    },
}
_OTHER_SPREAD = 0.20

# A model was seen to suffer this many times as much as the probe beside it, in logarithms.
_PROBE_TO_MODEL = 2.4

# Sessions recorded within minutes of each other agree better than sessions of different days do,
# so a measured spread is never taken to be below this share of the class's.
_SPREAD_FLOOR_SHARE = 1 / 3


@dataclass(frozen=True)
class Run:
    """One run's figure, and the machine's own speed beside it.

    Attributes:
        probe_ms: The time of a fixed piece of work that has nothing to do with the model.
    """

    value: float
    probe_ms: float


@dataclass(frozen=True)
class StoredSessions:
    """A cell's recorded runs of one statistic, session by session.

    Attributes:
        label: How to name them in a message.
    """

    sessions: Sequence[Sequence[Run]]
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
    runs: Sequence[Run],
    stored: StoredSessions,
    *,
    hardware: str,
    comparisons: int,
    same_speed: float,
) -> Judgement:
    """Judge this session's runs against the recorded sessions of the same cell.

    Args:
        budget: A relative limit on this statistic; lower is better.
        runs: This session's valid runs.
        stored: The recorded sessions; none when there is no baseline yet.
        hardware: The hardware id, whose class gives the default spread.
        comparisons: How many gated comparisons the session holds: they share `ERROR_BUDGET`.
        same_speed: Runs are compared when their probes differ by at most this fraction.
    """
    if len(runs) < MIN_RUNS:
        return _too_few(budget, [run.value for run in runs])
    if not stored.sessions:
        return _undecided(
            budget,
            runs,
            Verdict.MISSING,
            "IB-701",
            "no baseline yet: record one with --update-baselines",
        )
    # the low median: of two speeds one, never a speed between them that no run had
    speed_ms = statistics.median_low(run.probe_ms for run in runs)
    now = _at_speed(runs, speed_ms, same_speed)
    if len(now) < MIN_RUNS:
        return _undecided(
            budget,
            runs,
            Verdict.INCONCLUSIVE,
            "IB-614",
            f"the machine's own speed changed between the runs: fewer than {MIN_RUNS} are alike",
        )
    then = [
        alike
        for session in stored.sessions
        if len(alike := _at_speed(session, speed_ms, same_speed)) >= MIN_RUNS
    ]
    if not then:
        then_ms = statistics.median(run.probe_ms for runs in stored.sessions for run in runs)
        return _undecided(
            budget,
            runs,
            Verdict.INCONCLUSIVE,
            "IB-614",
            f"the machine's own speed is {speed_ms / then_ms - 1:+.0%} in time beside what it was"
            " when the baseline was recorded: measure again, or record a session at this speed too",
        )
    return _compared(budget, now, then, stored, hardware, comparisons)


def _compared(
    budget: Budget,
    now: Sequence[Run],
    then: Sequence[Sequence[Run]],
    stored: StoredSessions,
    hardware: str,
    comparisons: int,
) -> Judgement:
    """Judge runs against the runs of sessions at the same speed: enough of both are there."""
    values = [run.value for run in now]
    sessions = [[run.value for run in alike] for alike in then]
    change, to_red = _change(budget.metric, values, sessions, hardware, comparisons)
    allowed = math.log1p(budget.limit)
    slower = _PROBE_TO_MODEL * _slowdown(now, then)
    verdict, code, reason = _decide(values, change, sessions, allowed, slower)
    measured = len(sessions) >= MEASURED_FROM
    spread = "with their own spread" if measured else "with the default spread of this hardware"
    used = f"{len(values)} runs against {stored.label}"
    if len(sessions) < len(stored.sessions):
        used += f", {len(sessions)} of them at the machine's present speed"
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=math.exp(log_median(values)),
        unit=budget.unit,
        budget=budget.text,
        baseline=math.exp(_centre(sessions)),
        change=Interval(*(math.expm1(x) for x in (change.low, change.value, change.high))),
        smallest_visible=math.expm1(allowed + to_red),
        detail="; ".join(part for part in (reason, used, spread) if part),
    )


def _at_speed(runs: Sequence[Run], speed_ms: float, same_speed: float) -> list[Run]:
    """Return the runs beside which the machine had a speed: like with like."""
    most = math.log1p(same_speed)
    return [run for run in runs if abs(math.log(run.probe_ms / speed_ms)) <= most]


def _slowdown(now: Sequence[Run], then: Sequence[Sequence[Run]]) -> float:
    """How much slower the machine is within what passes as the same speed, as a log, from 0 on."""
    now_ms = statistics.median(run.probe_ms for run in now)
    then_ms = statistics.median(run.probe_ms for session in then for run in session)
    return max(0.0, math.log(now_ms / then_ms))


def _centre(sessions: Sequence[Sequence[float]]) -> float:
    return statistics.fmean(log_median(session) for session in sessions)


def _change(
    statistic: str,
    values: Sequence[float],
    sessions: Sequence[Sequence[float]],
    hardware: str,
    comparisons: int,
) -> tuple[Interval, float]:
    """The log change with its bounds, and the distance that the lower bound keeps."""
    count = len(sessions)
    spread = default_spread(hardware, statistic)
    share = ERROR_BUDGET / comparisons
    if count >= MEASURED_FROM:
        between = statistics.stdev(log_median(session) for session in sessions)
        spread = max(between, spread * _SPREAD_FLOOR_SHARE)
        to_red = student_t_quantile(1 - share, count - 1)
        to_pass = student_t_quantile(1 - PASS_ERROR, count - 1)
    else:
        to_red, to_pass = normal_quantile(1 - share), normal_quantile(1 - PASS_ERROR)
    error = spread * math.sqrt(1 + 1 / count)
    value = log_median(values) - _centre(sessions)
    return Interval(value - to_red * error, value, value + to_pass * error), to_red * error


def _decide(
    values: Sequence[float],
    change: Interval,
    sessions: Sequence[Sequence[float]],
    allowed: float,
    slower: float,
) -> tuple[Verdict, str, str]:
    if change.low > allowed:
        if change.low - slower <= allowed:
            reason = "above the limit, but the machine itself is a little slower than it was"
            return Verdict.INCONCLUSIVE, "IB-614", reason
        if min(math.log(value) for value in values) - _centre(sessions) <= allowed:
            reason = "above the limit, but some runs lie within it: measure on a quiet machine"
            return Verdict.INCONCLUSIVE, "IB-613", reason
        return Verdict.REGRESSED, "IB-603", ""
    if change.high < 0 and change.value < -allowed:
        return Verdict.IMPROVED, "IB-600", "less by more than the limit"
    if change.high < allowed:
        return Verdict.PASS, "IB-600", "within the limit"
    missing = MEASURED_FROM - len(sessions)
    decides = (
        f"after {missing} more recorded, the cell's own spread counts"
        if missing > 0
        else "a quieter machine narrows it; this budget may be too small for this one"
    )
    return Verdict.INCONCLUSIVE, "IB-610", f"the interval holds the limit: {decides}"


def _undecided(
    budget: Budget, runs: Sequence[Run], verdict: Verdict, code: str, detail: str
) -> Judgement:
    value = math.exp(log_median([run.value for run in runs]))
    return unjudged(budget, verdict, code, detail, value)


def _too_few(budget: Budget, runs: Sequence[float]) -> Judgement:
    detail = f"{MIN_RUNS} runs that count are needed, and there were {len(runs)}"
    value = math.exp(log_median(runs)) if runs else math.nan
    return unjudged(budget, Verdict.INCONCLUSIVE, "IB-612", detail, value)
