"""What a baseline file holds, and how sessions are added to one. Pure: knows neither files nor git.

Decoding checks every figure, so that nothing that was read can make a verdict of nonsense.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

SCHEMA = 1
"""Grows with every change that an older version could not read."""

MAX_SESSIONS = 20
"""Sessions kept per cell; recording one more drops the oldest."""

MAX_ACCEPTANCES = 50
"""Accepted regressions kept per cell: they outlive their sessions, or nobody would know why."""

Milliseconds = Annotated[float, Meta(gt=0)]
Runs = Annotated[tuple[Milliseconds, ...], Meta(min_length=1)]
Parts = Annotated[tuple[Annotated[float, Meta(ge=0)], ...], Meta(min_length=1)]
BatchSize = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class LoadRuns(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What one session measured of a server under a number of clients, one figure a run.

    Attributes:
        per_s: Answers a second.
        latency_ms: Statistic -> the time that clients waited.
        queue_ms: "mean", and "p95" where the server tells -> the time in its queue.
        split_ms: Part of the mean time -> how long it was.
        probe_ms: The machine's own speed at each run.
    """

    per_s: Runs
    latency_ms: dict[str, Runs]
    queue_ms: dict[str, Parts] = {}
    split_ms: dict[str, Parts] = {}
    probe_ms: Runs

    def __post_init__(self) -> None:
        columns = [self.per_s, *self.latency_ms.values()]
        columns += [*self.queue_ms.values(), *self.split_ms.values()]
        if any(len(runs) != len(self.probe_ms) for runs in columns):
            raise ValueError("load: per_s, probe_ms and the rest differ in how many runs")

    def runs_of(self, metric: str) -> Runs | Parts:
        """Return the figures of a metric as budgets name it; empty if not recorded."""
        if metric == "load_throughput":
            return self.per_s
        kind, _, statistic = metric.partition("_")
        return (self.queue_ms if kind == "queue" else self.latency_ms).get(statistic, ())


class Session(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What one session measured of a cell.

    Attributes:
        recorded: When, as ISO 8601 in UTC.
        reason: Why, as the user gave it.
        artifact: The SHA-256 of the file that ran.
        environment: Versions and settings of the machine, by name.
        latency_ms: Statistic -> one figure a run.
        samples: Inferences timed in each run.
        probe_ms: The machine's own speed at each run.
        memory_mib: Figure -> one value a launch.
        cold_start_ms: Stage -> one figure a launch.
        throughput_per_s: Batch size -> inferences a second, one figure a sweep.
        sweep_probe_ms: The machine's own speed at each sweep.
        energy: "watts" and "joules" an inference -> one figure a launch; where they can be read.
        load: Number of clients -> what a server under so many showed.
        scores: Accuracy figure by name.
    """

    recorded: str
    reason: str = ""
    artifact: Sha256
    environment: dict[str, str] = {}
    latency_ms: dict[str, Runs] = {}
    samples: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    probe_ms: tuple[Milliseconds, ...] = ()
    memory_mib: dict[str, Runs] = {}
    cold_start_ms: dict[str, Runs] = {}
    energy: dict[str, Runs] = {}
    throughput_per_s: dict[BatchSize, Runs] = {}
    sweep_probe_ms: tuple[Milliseconds, ...] = ()
    load: dict[BatchSize, LoadRuns] = {}
    scores: dict[str, float] = {}

    def __post_init__(self) -> None:
        if any(len(runs) != len(self.sweep_probe_ms) for runs in self.throughput_per_s.values()):
            raise ValueError("throughput_per_s and sweep_probe_ms differ in how many sweeps")
        _check_time(self.recorded)

    def runs_of(self, metric: str) -> Runs:
        """Return the figures of a metric as budgets name it, one a run; empty if not recorded.

        What is measured under load has its number of clients behind it: ``load_p95@8``.
        """
        metric, _, clients = metric.partition("@")
        if clients:
            return self.load[clients].runs_of(metric) if clients in self.load else ()
        named = {
            "memory": self.memory_mib.get("peak"),
            "device_memory": self.memory_mib.get("device"),
            "power": self.energy.get("watts"),
            "energy": self.energy.get("joules"),
            "cold_start": self.cold_start_ms.get("total"),
        }
        return named.get(metric, self.latency_ms.get(metric)) or ()

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes whose throughput it recorded."""
        return tuple(sorted(map(int, self.throughput_per_s)))

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded."""
        return _time(self.recorded)


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a session was recorded although it was worse than the one before it.

    Attributes:
        recorded: When, as its session says.
        reason: Why, as the user gave it.
        worse: Metric -> by how much it was worse, as a fraction: each by more than its budget.
    """

    recorded: str
    reason: str = ""
    worse: dict[str, Annotated[float, Meta(gt=0)]]

    def __post_init__(self) -> None:
        _check_time(self.recorded)


class CellSessions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The recorded sessions of a cell, and what was accepted with them; oldest first."""

    sessions: tuple[Session, ...]
    accepted: tuple[Acceptance, ...] = ()


class BaselineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model on one hardware: a cell's key is its backend and precision, "ort-cpu fp32"."""

    schema: int = SCHEMA
    hardware: str
    model: str
    cells: dict[str, CellSessions] = {}

    def sessions(self, cell: str) -> tuple[Session, ...]:
        """Return a cell's sessions, oldest first; none if it was never recorded.

        A merge by hand may have left them in another order.
        """
        found = self.cells[cell].sessions if cell in self.cells else ()
        return tuple(sorted(found, key=lambda session: session.recorded_at))


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """A session to record, beside or in place of the cell's earlier ones.

    Attributes:
        accepted: That it is worse than the one before, where it is.
    """

    cell: str
    session: Session
    replace: bool = False
    accepted: Acceptance | None = None


def merge(existing: BaselineFile, additions: Sequence[Addition]) -> BaselineFile:
    """Return the file with the additions in it; their order does not matter.

    Of each cell the newest `MAX_SESSIONS` are kept, and equal sessions once. What was accepted
    stays when sessions go, replaced ones included.
    """
    replaced = {addition.cell for addition in additions if addition.replace}
    sessions = {
        key: list(cell.sessions) for key, cell in existing.cells.items() if key not in replaced
    }
    accepted = {key: list(cell.accepted) for key, cell in existing.cells.items()}
    for addition in additions:
        sessions.setdefault(addition.cell, []).append(addition.session)
        if addition.accepted is not None:
            accepted.setdefault(addition.cell, []).append(addition.accepted)
    return msgspec.structs.replace(
        existing,
        cells={
            key: CellSessions(
                sessions=newest(sessions[key], MAX_SESSIONS),
                accepted=newest(accepted.get(key, ()), MAX_ACCEPTANCES),
            )
            for key in sorted(sessions)
        },
    )


_Dated = TypeVar("_Dated", Session, Acceptance)


def newest(dated: Iterable[_Dated], most: int) -> tuple[_Dated, ...]:
    """Return the newest of what was recorded, each once, oldest first."""
    distinct = {msgspec.json.encode(each, order="sorted"): each for each in dated}
    # Of what was recorded in the same second any fixed order will do, so the text decides.
    ordered = sorted(distinct.items(), key=lambda item: (_time(item[1].recorded), item[0]))
    return tuple(each for _, each in ordered[-most:])


def _time(recorded: str) -> datetime:
    return datetime.fromisoformat(recorded.replace("Z", "+00:00"))


def _check_time(recorded: str) -> None:
    # suppressed, so that one message serves what is no time at all and what is not UTC
    with contextlib.suppress(ValueError):
        if _time(recorded).utcoffset() == timedelta(0):
            return
    raise ValueError(f"recorded must be ISO 8601 in UTC, not {recorded!r:.40}")
