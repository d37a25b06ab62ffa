"""Two cells side by side: takes two runs, gives rounds of fresh workers that are timed in turn.

In a round both workers live at once on this host, held alone, and take short bursts one after the
other. Who is launched, opened, warmed and timed first is drawn at random each round, so that of two
equal builds neither has an advantage: the judge rests on that. Knows neither budgets nor verdicts.
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.rounds import Compared, figure, log_ratio
from pytest_inferbench.launches import ROTATED_INPUTS, STATISTICS, watched, why_slowed

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.judge.rounds import Nanoseconds
    from pytest_inferbench.worker.client import AnyWorker

METRICS = (*STATISTICS, "memory", "cold_start")
"""What a round tells."""

# A burst holds about this many calls of a slow model, where the settings' time holds fewer.
_CALLS_IN_A_BURST = 5
_FEWEST_PAIRS = 3

_PARTNER, _CANDIDATE = 0, 1


@dataclass(frozen=True)
class Shown:
    """What one worker of a round showed.

    Attributes:
        bursts: Nanoseconds a call, burst by burst.
        cold_start_ms: From opening the artifact to the first answer.
        peak_mib: Its peak resident memory.
        versions: What ran, by distribution.
    """

    bursts: Sequence[Nanoseconds]
    cold_start_ms: float
    peak_mib: float
    versions: Mapping[str, str]

    def figure(self, metric: str) -> float:
        """Return a metric as budgets name it, in milliseconds or MiB."""
        named = {"memory": self.peak_mib, "cold_start": self.cold_start_ms}
        if metric in named:
            return named[metric]
        return statistics.median(figure(ns, metric) for ns in self.bursts) / 1e6


class Showed(Protocol):
    """One side of a round, whatever was made of it."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What ran, by distribution."""

    def figure(self, metric: str) -> float:
        """Return a metric as budgets name it, less being better."""


@dataclass(frozen=True)
class Round:
    """One pair of fresh workers."""

    partner: Showed
    candidate: Showed
    _logs: dict[str, float] = field(default_factory=dict)

    def log_ratio(self, metric: str) -> float:
        """Return by how much the candidate has more of a metric, as a logarithm."""
        if metric not in self._logs:
            self._logs[metric] = self._measured(metric)
        return self._logs[metric]

    def _measured(self, metric: str) -> float:
        one, other = self.partner, self.candidate
        if metric in STATISTICS and isinstance(one, Shown) and isinstance(other, Shown):
            return log_ratio(list(zip(one.bursts, other.bursts, strict=True)), metric)
        return math.log(self.candidate.figure(metric) / self.partner.figure(metric))


class Comparison:
    """A candidate beside a partner, round after round.

    Attributes:
        label: How to name the partner in a message.
        rounds: Those taken so far that count.
        set_aside: Why each of the others does not.
        seconds: What all of them have taken.
    """

    def __init__(self, partner: CellRun, candidate: CellRun, label: str) -> None:
        self._sides = (partner, candidate)
        self.label = label
        self.rounds: list[Round] = []
        self.set_aside: list[str] = []
        self.seconds = 0.0
        self._random = random.Random()

    @property
    def artifacts_sha256(self) -> tuple[str, str]:
        """The hashes of the files that run, the partner's first."""
        partner, candidate = self._sides
        return partner.artifact.sha256, candidate.artifact.sha256

    def compared(self, metric: str) -> Compared:
        """Return what the rounds say of a metric."""
        return Compared(
            logs=[each.log_ratio(metric) for each in self.rounds],
            value=_median(each.candidate.figure(metric) for each in self.rounds),
            partner=_median(each.partner.figure(metric) for each in self.rounds),
            seconds=self.seconds,
            label=self.label,
            set_aside=tuple(self.set_aside),
        )

    def until(
        self, decided: Callable[[], bool], most_s: float, so_far: Callable[[], str] = str
    ) -> None:
        """Take rounds until they decide or the time is spent; one in any case.

        Args:
            decided: Whether they do.
            most_s: All the time there is.
            so_far: What they say so far, for the line of progress.

        Raises:
            InferbenchError: A side failed; the message says which.
        """
        if self.seconds and (decided() or self.seconds >= most_s):
            return
        partner, candidate = self._sides
        try:  # both artifacts are built before the host is held alone
            of_partner = partner.open_fields()
        except InferbenchError as error:
            raise self._of_partner(error) from error
        fields = (of_partner, candidate.open_fields())
        progress = candidate.waiting(f"rounds beside {self.label}")
        with candidate.alone():
            while True:
                self._take(fields)
                ends = decided() or self.seconds >= most_s
                said = filter(None, [f"{len(self.rounds)} so far", so_far()])
                progress(self.seconds, ", ".join(said))
                if ends:
                    return

    def _take(self, fields: Sequence[dict[str, Any]]) -> None:
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            sides = [
                self._side(run, to_open) for run, to_open in zip(self._sides, fields, strict=True)
            ]
            self._launch(sides, stack)
            for side in sides:
                stack.callback(side.close)
            self._both(sides, lambda side: side.open())
            self._both(sides, lambda side: side.warm())
            burst_s, pairs = self._plan(max(side.typical_ms for side in sides))
            ours = [side.pid for side in sides]
            self._both(sides, lambda side: side.guard(ours))
            for _ in range(pairs):
                self._both(sides, lambda side: side.burst(burst_s))
            self._both(sides, lambda side: side.unguard())
        self.seconds += time.monotonic() - started
        disturbed = next(filter(None, (side.disturbed for side in sides)), "")
        if disturbed:
            self.set_aside.append(disturbed)
        else:
            self.rounds.append(Round(sides[_PARTNER].shown(), sides[_CANDIDATE].shown()))

    def _side(self, run: CellRun, fields: dict[str, Any]) -> Live:
        return Live(run, fields)

    def _plan(self, typical_ms: float) -> tuple[float, int]:
        """Return how long bursts are, and how many each side takes."""
        latency = self._sides[_CANDIDATE].gate.settings.latency
        burst_s = max(latency.burst_s, _CALLS_IN_A_BURST * typical_ms / 1e3)
        return burst_s, max(_FEWEST_PAIRS, round(latency.round_s / (2 * burst_s)))

    def _launch(self, sides: Sequence[Live], stack: contextlib.ExitStack) -> None:
        """Start both workers at once, for starting is most of what a round costs."""
        with ThreadPoolExecutor(len(sides)) as pool:
            for side in sides:
                side.launch(pool)
                stack.callback(side.end)  # whichever fails, or is not waited for
        self._both(sides, Live.launched)

    def _both(self, sides: Sequence[Live], act: Callable[[Live], object]) -> None:
        """Do something with both sides, in an order drawn anew; name the partner in its errors."""
        for index in self._random.sample((_PARTNER, _CANDIDATE), 2):
            try:
                act(sides[index])
            except InferbenchError as error:
                if index == _CANDIDATE:
                    raise
                raise self._of_partner(error) from error

    def _of_partner(self, error: InferbenchError) -> InferbenchError:
        message = f"{self.label}, to compare with, failed: {error.message}"
        return InferbenchError(error.code, message, error.hint)


class Live:
    """One side of a round, from its launch to its last burst."""

    def __init__(self, run: CellRun, fields: dict[str, Any]) -> None:
        self._run, self._fields = run, fields
        self._bursts: list[Nanoseconds] = []
        self.typical_ms = 0.0
        self.pid = 0
        self.disturbed = ""

    def launch(self, pool: ThreadPoolExecutor) -> None:
        """Begin to start its worker."""
        self.starting: Future[AnyWorker] = pool.submit(self._run.new_worker)

    def launched(self) -> None:
        """Take its worker, which has started or has failed to."""
        self._worker = self.starting.result()

    def end(self) -> None:
        """End its worker: now, or as soon as it has started."""
        self.starting.add_done_callback(_close_started)

    def open(self) -> None:
        """Open the artifact and run it once."""
        self.pid = self._worker.call("hello").fields["pid"]
        self._worker.call("watch", watched(self._run.cell, self._fields["options"]))
        opened = self._worker.call("open", self._fields).fields
        answered = self._worker.call("infer", {}, self._run.inputs[0]).fields
        self._cold_start_ms = opened["open_ms"] + answered["infer_ms"]
        self._versions, self._ran = opened["versions"], opened["ran"]

    def warm(self) -> None:
        """Call it until it is steady."""
        from pytest_inferbench.worker.protocol import pack_samples

        latency = self._run.gate.settings.latency
        warmed = self._worker.call(
            "warm",
            {
                "warmup_floor_s": latency.warmup_floor_s,
                "warmup_ceiling_s": latency.warmup_ceiling_s,
            },
            pack_samples(self._run.inputs[:ROTATED_INPUTS]),
        ).fields
        self.typical_ms, self._peak_mib = warmed["typical_ms"], warmed["peak_mib"]

    def guard(self, ours: Sequence[int]) -> None:
        """Begin to watch its device; the workers of a round are no strangers to each other."""
        self._worker.call("guard", {"begin": True, "ours": list(ours)})

    def unguard(self) -> None:
        """Note why the round does not count, if the machine was disturbed meanwhile.

        Other load on the CPU is no reason: it met both sides alike.
        """
        seen = self._worker.call("guard", {"begin": False}).fields
        self.disturbed = why_slowed(self._run.gate.settings.latency, seen)

    def burst(self, duration_s: float) -> None:
        """Time it for a short while."""
        reply = self._worker.call("burst", {"duration_s": duration_s})
        self._bursts.append(reply.arrays["ns"])

    def close(self) -> None:
        """Give back what it has beside its worker, however the round ended."""

    def shown(self) -> Showed:
        """Return what it showed."""
        return Shown(self._bursts, self._cold_start_ms, self._peak_mib, self._versions)


def _close_started(starting: Future[AnyWorker]) -> None:
    if starting.exception() is None:
        starting.result().close()


def _median(values: Iterable[float]) -> float:
    """Return the median; NaN of nothing."""
    listed = list(values)
    return statistics.median(listed) if listed else math.nan
