"""Sessions to record: takes a cell's launches, gives plain sessions; then writes them, once a file.

Only the process that saw every report writes. Knows no budget.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from pytest_inferbench import __version__
from pytest_inferbench.launches import STAGES, STATISTICS, Launch

if TYPE_CHECKING:
    from pytest_inferbench.baselines.schema import BaselineFile, Session
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.settings.schema import Settings


def figures_of(launch: Launch) -> dict[str, float]:
    """Return a launch's figures by the names that budgets use."""
    where_told = {
        "device_memory": launch.device_mib,
        "power": launch.watts,
        "energy": launch.joules,
    }
    return {
        **launch.latency_ms,
        "memory": launch.peak_mib,
        "cold_start": launch.cold_start_ms,
        **{metric: value for metric, value in where_told.items() if value is not None},
    }


def new_session(
    run: CellRun, launches: Sequence[Launch], reason: str, scores: Mapping[str, float]
) -> dict[str, Any]:
    """Return a session as plain types, as it will stand in the baseline file."""
    return {
        "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "reason": reason,
        "artifact": run.artifact.sha256,
        "environment": environment_of(run, launches[0]) if launches else {},
        "latency_ms": {
            name: [short(launch.latency_ms[name]) for launch in launches] for name in STATISTICS
        },
        "samples": [launch.samples for launch in launches],
        "probe_ms": [short(launch.probe_ms) for launch in launches],
        "memory_mib": {
            "peak": [short(launch.peak_mib) for launch in launches],
            **_told(launches, device="device_mib"),
        },
        "energy": _told(launches, watts="watts", joules="joules"),
        "cold_start_ms": _cold_start(launches),
        "scores": {k: short(v) for k, v in scores.items() if math.isfinite(v)},
    }


def _told(launches: Sequence[Launch], **attributes: str) -> dict[str, list[float]]:
    """Return those figures that every launch has; a session without them does not record them."""
    told = {
        name: [getattr(each, attribute) for each in launches]
        for name, attribute in attributes.items()
    }
    return {
        name: [short(value) for value in values]
        for name, values in told.items()
        if values and None not in values
    }


class Seen(Protocol):
    """A launch, a sweep or a run of load, as far as its surroundings go."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What ran, by distribution."""

    @property
    def pinned(self) -> str:
        """The CPUs that it was kept to, where the settings pin it."""


def environment_of(run: CellRun, seen: Seen) -> dict[str, str]:
    """Return versions and settings of the machine as a launch or a sweep found them."""
    return {
        "inferbench": __version__,
        **run.gate.environments[run.cell.environment].facts,
        **seen.versions,
        **({"pinned to CPUs": seen.pinned} if seen.pinned else {}),
        **{
            f"option {name}": str(value)
            for name, value in sorted(run.open_fields()["options"].items())
            if name != "installation"  # where this host has its server
        },
    }


def _cold_start(launches: Sequence[Launch]) -> dict[str, list[float]]:
    """Return the whole of each run, and each stage of those that had it."""
    stages = {
        stage: [short(each.stages_ms[stage]) for each in launches if stage in each.stages_ms]
        for stage in STAGES
    }
    total = [short(launch.cold_start_ms) for launch in launches]
    return {"total": total, **{stage: runs for stage, runs in stages.items() if runs}}


def record(gate: Gate) -> list[str]:
    """Write what the ledger holds; return a line for every cell: old -> new.

    Raises:
        InferbenchError: A file could not be read or written; what it held is untouched.
    """
    import msgspec

    from pytest_inferbench.baselines.schema import Session

    lines = []
    read = cache(gate.baselines.read)  # once a file, however many of its cells are recorded
    for entry, plain in gate.ledger.additions():
        cell = gate.cells_by_id[entry.cell or ""]
        session = msgspec.convert(plain, Session)
        replace = gate.options.update == "replace"
        lines += queue(gate.baselines, gate.settings, cell, session, replace=replace, read=read)
    return lines + [f"wrote {path}" for path in gate.baselines.flush()]


class Named(Protocol):
    """A cell, or the results of one."""

    @property
    def model(self) -> str:
        """The name of its model."""

    @property
    def backend(self) -> str:
        """Its backend."""

    @property
    def precision(self) -> str:
        """Its precision."""

    @property
    def hardware(self) -> str:
        """The id of its hardware."""

    @property
    def device(self) -> str:
        """The kind of its device."""


def queue(
    store: BaselineStore,
    settings: Settings,
    cell: Named,
    session: Session,
    *,
    replace: bool,
    read: Callable[[str, str], BaselineFile | None] | None = None,
) -> list[str]:
    """Queue a session for its file; return what is said of it: old -> new, and what was accepted.

    Args:
        store: Where baselines are.
        settings: Whose budgets say what is worse.
        cell: Whose session it is; its model need not be in the settings.
        session: The session.
        replace: Whether it takes the place of the earlier ones.
        read: How what is recorded is read, if not by the store, which reads anew each time.

    Raises:
        InferbenchError: The file cannot be read.
    """
    from pytest_inferbench.baselines.accepted import GATED, compared
    from pytest_inferbench.baselines.schema import Addition

    key = f"{cell.backend} {cell.precision}"
    file = (read or store.read)(cell.hardware, cell.model)
    earlier = file.sessions(key) if file else ()
    budgets = {
        metric: settings.budget(cell.model, metric, cell.precision, cell.hardware)
        for metric in GATED
        if cell.model in settings.models
    }
    same_speed = settings.latency.same_speed_on(cell.device)
    beside = compared(earlier[-1], session, budgets, same_speed) if earlier else None
    addition = Addition(
        cell=key,
        session=session,
        replace=replace,
        accepted=beside.acceptance if beside else None,
    )
    store.add(cell.hardware, cell.model, addition)
    figure = _told_by(session)
    old = _p50(earlier[-1], figure) if earlier else "nothing"
    said = [f"recorded {cell}: {figure} {old} -> {_p50(session, figure)}"]
    return [*said, f"  {beside.line}"] if beside and beside.line else said


def _told_by(session: Session) -> str:
    """Return the figure that a session is told by: of load alone it is what most clients waited."""
    if session.latency_ms or not session.load:
        return "p50"
    return f"load_p50@{max(session.load, key=int)}"


def _p50(session: Session, figure: str) -> str:
    runs = session.runs_of(figure)
    return f"{statistics.median(runs):.4g} ms" if runs else "nothing"


def short(value: float) -> float:
    """Return a figure as it is written: seven digits are more than any clock gives."""
    return float(f"{value:.7g}")
