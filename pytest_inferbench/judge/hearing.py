"""What a machine lets a gate hear: takes figures of one build beside itself, gives changes.

Pure. The judges that verdicts come from say what they would have called regressed: there is no
second rule here.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.judge.rounds import Compared, judge_slowdown
from pytest_inferbench.judge.runs import MEASURED_FROM, MIN_RUNS, Run, StoredSessions, judge_stored
from pytest_inferbench.settings.budgets import Budget

COMPARISONS = 2
"""The figures of one cell that are gated by default: p5 and p50."""

_HELD = 0.05
"""The share of the time that a machine is at a speed, for it to be one."""


@dataclass(frozen=True)
class Speeds:
    """How fast the machine itself was over a while, by the probe of every run.

    Attributes:
        fast_ms: The probe at its faster speed.
        slow_ms: At its slower one; the same where there is one speed.
        slow_share: How much of the time it was slower.
        changes: How often it went from one to the other.
        spread: By how much the slowest probe took longer than the fastest, as a fraction.
        seconds: How long was watched.
    """

    fast_ms: float
    slow_ms: float
    slow_share: float
    changes: int
    spread: float
    seconds: float

    @property
    def apart(self) -> float:
        """How much longer the probe takes at the slower speed, as a fraction."""
        return self.slow_ms / self.fast_ms - 1

    def several(self, same_speed: float) -> bool:
        """Whether there are two speeds, by how far what counts as one may differ.

        A slow moment now and then is no speed.
        """
        held = min(self.slow_share, 1 - self.slow_share)
        return self.apart > same_speed and held >= _HELD


def speeds_of(probes: Sequence[tuple[float, float]]) -> Speeds:
    """Return what probes say, each the moment and how long it took.

    They are parted where the two parts differ most from each other, and least within themselves.
    """
    moments_s = [moment_s for moment_s, _ in probes]
    logs = [math.log(probe_ms) for _, probe_ms in probes]
    ordered = sorted(logs)
    cut = max(range(1, len(ordered) + 1), key=lambda index: _apart(ordered, index))
    fast, slow = ordered[:cut], ordered[cut:] or ordered[:cut]
    is_slow = [log > ordered[cut - 1] for log in logs]
    return Speeds(
        fast_ms=math.exp(statistics.median(fast)),
        slow_ms=math.exp(statistics.median(slow)),
        slow_share=sum(is_slow) / len(is_slow),
        changes=sum(one != other for one, other in itertools.pairwise(is_slow)),
        spread=math.expm1(ordered[-1] - ordered[0]),
        seconds=moments_s[-1] - moments_s[0],
    )


def _apart(ordered: Sequence[float], cut: int) -> float:
    """Return the variance between the two sides of a cut, times what is the same for all cuts."""
    below, above = ordered[:cut], ordered[cut:]
    if not above:
        return 0.0
    return len(below) * len(above) * (statistics.fmean(above) - statistics.fmean(below)) ** 2


@dataclass(frozen=True)
class Audible:
    """From which change on a statistic would have been called regressed, as fractions.

    Attributes:
        metric: The statistic.
        budget: What it may change by default.
        launches: The standard deviation between fresh launches, as a fraction.
        beside: Side by side, with the rounds that there were; None where they decide nothing.
        beside_for: The same if rounds went on like this for the time of a comparison.
        first: Against one recorded session, with the default spread of the hardware.
        fifth: Against five that are like these launches; None where their speeds differ too much.
        fifth_is_least: Whether there were too few launches to make five separate sessions of.
    """

    metric: str
    budget: str
    launches: float
    beside: float | None
    beside_for: float | None
    first: float | None
    fifth: float | None
    fifth_is_least: bool = False


def audible(
    budget: Budget,
    compared: Compared,
    launches: Sequence[Run],
    *,
    hardware: str,
    same_speed: float,
    compare_s: float,
) -> Audible:
    """Return from which change on a statistic would have been called regressed.

    Args:
        budget: A relative limit on it.
        compared: Rounds of one build beside itself.
        launches: The same, launch by launch, in the order they were taken.
        hardware: The hardware id, whose class gives the default spread.
        same_speed: By how much probes may differ that are of one speed.
        compare_s: How long a comparison may take.
    """
    logs = [math.log(run.value) for run in launches]

    def stored(sessions: Sequence[Sequence[Run]]) -> float | None:
        return judge_stored(
            budget,
            launches,
            StoredSessions(sessions),
            hardware=hardware,
            comparisons=COMPARISONS,
            same_speed=same_speed,
        ).smallest_visible

    return Audible(
        metric=budget.metric,
        budget=budget.text,
        launches=math.expm1(statistics.stdev(logs)) if len(logs) > 1 else math.nan,
        beside=judge_slowdown(budget, compared, COMPARISONS).smallest_visible,
        beside_for=judge_slowdown(
            budget, _longer(compared, compare_s), COMPARISONS
        ).smallest_visible,
        first=stored([launches]),
        fifth=stored(_five(launches)),
        fifth_is_least=len(launches) < MEASURED_FROM * MIN_RUNS,
    )


def _five(launches: Sequence[Run]) -> list[Sequence[Run]]:
    """Return as many sessions as measure a spread, from launches in a row: few ones overlap."""
    width = min(len(launches), max(MIN_RUNS, len(launches) // MEASURED_FROM))
    last = len(launches) - width
    starts = [round(i * last / (MEASURED_FROM - 1)) for i in range(MEASURED_FROM)]
    return [launches[start : start + width] for start in starts]


def _longer(compared: Compared, seconds: float) -> Compared:
    """Return the rounds as if they had gone on like this: the same ones over and over."""
    if not compared.logs:
        return compared
    taken = len(compared.logs) + len(compared.set_aside)
    most = max(len(compared.logs), int(seconds / (compared.seconds / taken)))
    count = max(1, most * len(compared.logs) // taken)
    times = -(-count // len(compared.logs))
    logs = (list(compared.logs) * times)[:count]
    return Compared(logs, compared.value, compared.partner, seconds, compared.label)
