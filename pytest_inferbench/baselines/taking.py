"""A session to record, from results that a gate wrote: takes a cell's results, gives the session.

Pure. What is no full, valid session of right outputs is refused with its reason, as a gate that
records refuses it. Load and throughput are not in results run by run, so they are not taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from pytest_inferbench.baselines.schema import Session
from pytest_inferbench.judge.runs import MIN_RUNS
from pytest_inferbench.launches import STATISTICS
from pytest_inferbench.recording import short

if TYPE_CHECKING:
    from pytest_inferbench.report.document import CellResult, SessionResult, TestResult
    from pytest_inferbench.report.parts import RunResult

TIMED = ("latency", "memory", "cold_start", "energy")
"""The kinds of tests whose figures a session holds run by run."""

_NOT_TAKEN = ("throughput", "load")
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class NotTakenError(Exception):
    """A cell's results are no session to record; the message says why."""


def differs_from_baseline(cell: CellResult) -> bool:
    """Whether a test of a cell that compares with a baseline ended as anything but a plain pass."""
    return any(
        judged.verdict != "pass"
        for test in cell.tests
        if test.kind in (*TIMED, *_NOT_TAKEN)
        for judged in test.judgements
    )


def session_from(cell: CellResult, session: SessionResult, reason: str) -> Session:
    """Return what a gate measured of a cell, as it will stand in the baseline file.

    Args:
        cell: The cell's results.
        session: The session that they are of.
        reason: Why it is recorded.

    Raises:
        NotTakenError: It is no full, valid session of right outputs.
    """
    _check(cell, session)
    runs = [run for run in cell.runs if run.counts]
    if len(runs) < MIN_RUNS:
        raise NotTakenError(f"{MIN_RUNS} runs that count are needed, and it has {len(runs)}")
    try:
        return msgspec.convert(
            {
                "recorded": session.recorded,
                "reason": reason,
                "artifact": cell.artifact,
                "environment": cell.ran,
                "latency_ms": {
                    name: _column(run.latency_ms.get(name) for run in runs) for name in STATISTICS
                },
                "samples": [run.samples for run in runs],
                "probe_ms": _column(run.probe_ms for run in runs),
                "memory_mib": {
                    "peak": _column(run.peak_mib for run in runs),
                    **_told("device", [run.device_mib for run in runs]),
                },
                "energy": {
                    **_told("watts", [run.watts for run in runs]),
                    **_told("joules", [run.joules for run in runs]),
                },
                "cold_start_ms": {
                    "total": _column(run.cold_start_ms for run in runs),
                    **_stages(runs),
                },
                "scores": _scores(cell),
            },
            Session,
        )
    except msgspec.ValidationError as error:
        raise NotTakenError(f"its figures are no session's: {error}") from error


def _check(cell: CellResult, session: SessionResult) -> None:
    """Refuse what a gate would not have recorded either."""
    # they become names of files and keys: a document may come from anywhere
    for part in (cell.model, cell.backend, cell.precision, cell.hardware):
        if not _PLAIN_PART.fullmatch(part):
            raise NotTakenError(f"{part!r:.60} can be no part of a cell's name")
    if cell.cannot_run:
        raise NotTakenError(f"it did not run: {cell.cannot_run}")
    if session.options.get("update"):
        raise NotTakenError("that session recorded its baselines itself")
    if session.options.get("in_process"):
        raise NotTakenError("it ran in pytest's own process, whose figures are no baseline")
    if not cell.runs:
        raise NotTakenError("it was not timed by itself in that session" + _instead(cell))
    if wrong := next((test for test in cell.tests if _is_wrong(test)), None):
        raise NotTakenError(f"it failed more than its budgets: {wrong.test}: {_line(wrong.reason)}")
    if not any(test.kind == "similarity" and test.outcome == "passed" for test in cell.tests):
        raise NotTakenError(
            "its outputs were not found right in that session: run the gate with `accuracy` too"
        )


def _instead(cell: CellResult) -> str:
    kinds = [test.kind for test in cell.tests if test.kind in _NOT_TAKEN]
    return f"; {kinds[0]} is recorded with --update-baselines" if kinds else ""


def _is_wrong(test: TestResult) -> bool:
    """Whether a test failed otherwise than by a figure beyond its budget."""
    if test.outcome != "failed":
        return False
    return test.kind not in (*TIMED, *_NOT_TAKEN) or not test.judgements


def _line(reason: str) -> str:
    return next(iter(reason.splitlines()), "")[:200]


def _column(values: Iterator[float | None]) -> list[float]:
    found = list(values)
    numbers = [value for value in found if value is not None]
    if len(numbers) < len(found):
        raise NotTakenError("some of its runs lack a figure that sessions have")
    return numbers


def _told(name: str, values: Sequence[float | None]) -> dict[str, list[float]]:
    """Return a figure that every run has; else a session does without it."""
    numbers = [value for value in values if value is not None]
    return {name: numbers} if len(numbers) == len(values) else {}


def _stages(runs: Sequence[RunResult]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for run in runs for name in run.stages_ms)
    return {name: [run.stages_ms[name] for run in runs if name in run.stages_ms] for name in names}


def _scores(cell: CellResult) -> dict[str, float]:
    return {
        name: short(value)
        for test in cell.tests
        if test.kind == "similarity"
        for name, value in test.figures.items()
        if math.isfinite(value)
    }
