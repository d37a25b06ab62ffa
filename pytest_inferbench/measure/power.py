"""Energy from readings: takes counters or watts over time, gives joules and watts. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def counted_uj(before_uj: int, after_uj: int, range_uj: int) -> int | None:
    """Return what a counter counted, which may have started again from zero once meanwhile.

    None where it fell and does not say at what it starts again.
    """
    if after_uj >= before_uj:
        return after_uj - before_uj
    return after_uj - before_uj + range_uj if range_uj >= before_uj else None


def integrated_j(times_s: Sequence[float], watts: Sequence[float]) -> float:
    """Return the joules under readings of power, taken to change evenly between them."""
    return sum(
        (times_s[i + 1] - times_s[i]) * (watts[i + 1] + watts[i]) / 2
        for i in range(len(times_s) - 1)
    )


def mean_watts(times_s: Sequence[float], watts: Sequence[float]) -> float | None:
    """Return the mean power of readings at their times; None without two different times."""
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return None
    return integrated_j(times_s, watts) / (times_s[-1] - times_s[0])


def counter_watts(times_s: Sequence[float], joules: Sequence[float]) -> float | None:
    """Return the mean power of a counter that was read often.

    A counter may be brought up to date but a few times a second, so what it shows is as old as its
    last change: from the first change that was seen to the last one nothing is lost. None where
    fewer than two were seen, or where it fell.
    """
    changes = [i for i in range(1, len(joules)) if joules[i] != joules[i - 1]]
    if any(joules[i] < joules[i - 1] for i in changes) or len(changes) < 2:
        return None
    first, last = changes[0], changes[-1]
    return (joules[last] - joules[first]) / (times_s[last] - times_s[first])
