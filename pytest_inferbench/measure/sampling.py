"""The timing loop: takes callables, gives nanoseconds a call; knows no model and no budget."""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Run = Callable[[], object]
Nanoseconds = npt.NDArray[np.int64]

SHORTEST_SAMPLE_NS = 50_000
"""A clock read covers at least about this much, so that its own cost does not show."""

STEADY_WINDOWS = 5
STEADY_GAIN = 0.02
PERCENTILES = (5, 50, 90, 99)
_WINDOW_S = 0.02


@dataclass(frozen=True)
class Samples:
    """What a run of the loop gave.

    Attributes:
        ns: Nanoseconds a call, in the order taken, the clock's own cost taken off.
        calls_per_sample: Calls that each of them is the mean of.
        warmup_calls: Calls before the first of them.
        warmup_s: How long those took.
        warmup_steady: Whether they had stopped getting faster.
        overhead_ns: What was taken off each sample.
    """

    ns: Nanoseconds
    calls_per_sample: int
    warmup_calls: int
    warmup_s: float
    warmup_steady: bool
    overhead_ns: float

    def as_fields(self) -> dict[str, Any]:
        """Return all but the samples themselves, as plain types."""
        return {name: value for name, value in vars(self).items() if name != "ns"}


def sample(
    runs: Run | Sequence[Run],
    *,
    duration_s: float,
    warmup_floor_s: float = 0.1,
    warmup_ceiling_s: float = 5.0,
    max_calls: int = 1_000_000,
    synchronize: Callable[[], object] | None = None,
) -> Samples:
    """Warm up until steady, then time calls one after another.

    Args:
        runs: What to call; several are taken in turn.
        duration_s: How long to take samples; one is taken in any case.
        warmup_floor_s: The least time of warm-up.
        warmup_ceiling_s: The most, steady or not.
        max_calls: The most timed calls.
        synchronize: Waits until a call's work is done, where calls return early.
    """
    runs = [runs] if callable(runs) else list(runs)
    wait = synchronize or _nothing
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        warmed = warm_up(runs, wait, warmup_floor_s, warmup_ceiling_s)
        calls = min(calls_per_sample(warmed.ns), max(1, max_calls))
        taken = itertools.cycle(runs)
        batches = [tuple(itertools.islice(taken, calls)) for _ in runs]
        nothing: Iterator[Sequence[Run]] = itertools.repeat(())
        overhead_ns = float(np.median(take(nothing, _nothing, 0.01, 1000)))
        elapsed_ns = take(itertools.cycle(batches), wait, duration_s, max_calls // calls)
    finally:
        if collecting:
            gc.enable()
    ns = np.maximum(np.rint((elapsed_ns - overhead_ns) / calls), 0).astype(np.int64)
    return Samples(ns, calls, len(warmed.ns), warmed.seconds, warmed.steady, overhead_ns)


def percentiles_ms(ns: Nanoseconds) -> dict[str, float]:
    """Return ``p5``, ``p50``, ``p90``, ``p99``, ``mean`` and ``min`` in milliseconds."""
    ms = np.asarray(ns, dtype=np.float64) / 1e6
    values = np.percentile(ms, PERCENTILES)
    named = {f"p{rank}": float(value) for rank, value in zip(PERCENTILES, values, strict=True)}
    return {**named, "mean": float(ms.mean()), "min": float(ms.min())}


def take(
    batches: Iterator[Sequence[Run]],
    wait: Callable[[], object],
    duration_s: float,
    most: int = 1_000_000,
) -> Nanoseconds:
    """Time whole batches, one after another, until the time or their number is spent."""
    clock = time.perf_counter_ns
    elapsed_ns: list[int] = []
    add = elapsed_ns.append
    end = clock() + int(duration_s * 1e9)
    for batch in itertools.islice(batches, max(1, most)):
        started = clock()
        for run in batch:
            run()
        wait()
        stopped = clock()
        add(stopped - started)
        if stopped >= end:
            break
    return np.array(elapsed_ns, dtype=np.int64)


@dataclass(frozen=True)
class Warmup:
    """The calls before anything counts.

    Attributes:
        ns: Nanoseconds a call, in the order taken.
        seconds: How long they took.
        steady: Whether they had stopped getting faster.
    """

    ns: Nanoseconds
    seconds: float
    steady: bool


def calls_per_sample(warmup_ns: Nanoseconds) -> int:
    """Return how many calls a clock read must cover, so that its own cost does not show."""
    typical_ns = max(1.0, float(np.median(warmup_ns[-100:])))
    return max(1, math.ceil(SHORTEST_SAMPLE_NS / typical_ns))


def is_steady(lows_ns: Sequence[float]) -> bool:
    """Whether the last windows were no faster than the best one before them."""
    before, last = lows_ns[:-STEADY_WINDOWS], lows_ns[-STEADY_WINDOWS:]
    return bool(before) and min(last) >= min(before) * (1 - STEADY_GAIN)


def warm_up(
    runs: Sequence[Run], wait: Callable[[], object], floor_s: float, ceiling_s: float
) -> Warmup:
    """Call until steady, within the floor and the ceiling."""
    singles = itertools.cycle([(run,) for run in runs])
    windows: list[Nanoseconds] = []
    lows_ns: list[float] = []
    started = time.perf_counter()
    while True:
        windows.append(take(singles, wait, _WINDOW_S))
        lows_ns.append(float(np.percentile(windows[-1], 25)))
        passed_s = time.perf_counter() - started
        steady = passed_s >= floor_s and is_steady(lows_ns)
        if steady or passed_s >= ceiling_s:
            return Warmup(np.concatenate(windows), passed_s, steady)


def _nothing() -> None:
    pass
