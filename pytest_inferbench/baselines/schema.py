"""What a baseline file holds, and how sessions are added to one. Pure: knows neither files nor git.

Decoding checks every figure, so that nothing that was read can make a verdict of nonsense.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

SCHEMA = 1
"""Grows with every change that an older version could not read."""

MAX_SESSIONS = 20
"""Sessions kept per cell; recording one more drops the oldest."""

Milliseconds = Annotated[float, Meta(gt=0)]
Runs = Annotated[tuple[Milliseconds, ...], Meta(min_length=1)]
BatchSize = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


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
    throughput_per_s: dict[BatchSize, Runs] = {}
    sweep_probe_ms: tuple[Milliseconds, ...] = ()
    scores: dict[str, float] = {}

    def __post_init__(self) -> None:
        # suppressed, so that one message serves what is no time at all and what is not UTC
        if any(len(runs) != len(self.sweep_probe_ms) for runs in self.throughput_per_s.values()):
            raise ValueError("throughput_per_s and sweep_probe_ms differ in how many sweeps")
        with contextlib.suppress(ValueError):
            if self.recorded_at.utcoffset() == timedelta(0):
                return
        raise ValueError(f"recorded must be ISO 8601 in UTC, not {self.recorded!r:.40}")

    def runs_of(self, metric: str) -> Runs:
        """Return the figures of a metric as budgets name it, one a run; empty if not recorded."""
        named = {
            "memory": self.memory_mib.get("peak"),
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
        return datetime.fromisoformat(self.recorded.replace("Z", "+00:00"))


class CellSessions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recorded sessions of a cell, oldest first."""

    sessions: tuple[Session, ...]


class BaselineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model on one hardware: a cell's key is its backend and precision, "ort-cpu fp32"."""

    schema: int = SCHEMA
    hardware: str
    model: str
    cells: dict[str, CellSessions] = {}

    def sessions(self, cell: str) -> tuple[Session, ...]:
        """Return a cell's sessions, oldest first; none if it was never recorded."""
        return self.cells[cell].sessions if cell in self.cells else ()


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """A session to record, beside or in place of the cell's earlier ones."""

    cell: str
    session: Session
    replace: bool = False


def merge(existing: BaselineFile, additions: Sequence[Addition]) -> BaselineFile:
    """Return the file with the additions in it; their order does not matter.

    Of each cell the newest `MAX_SESSIONS` are kept, and equal sessions once.
    """
    replaced = {addition.cell for addition in additions if addition.replace}
    cells = {
        key: list(cell.sessions) for key, cell in existing.cells.items() if key not in replaced
    }
    for addition in additions:
        cells.setdefault(addition.cell, []).append(addition.session)
    return msgspec.structs.replace(
        existing,
        cells={key: CellSessions(sessions=_newest(cells[key])) for key in sorted(cells)},
    )


def _newest(sessions: Iterable[Session]) -> tuple[Session, ...]:
    distinct = {msgspec.json.encode(session, order="sorted"): session for session in sessions}
    # Of sessions recorded in the same second any fixed order will do, so their text decides.
    ordered = sorted(distinct.items(), key=lambda item: (item[1].recorded_at, item[0]))
    return tuple(session for _, session in ordered[-MAX_SESSIONS:])
