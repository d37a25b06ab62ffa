"""What is recorded, cell by cell: takes files, gives one row a cell. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_inferbench.baselines.schema import Acceptance, BaselineFile
from pytest_inferbench.judge.statistics import log_median
from pytest_inferbench.onnx_cases.baseline import CaseBaseline


@dataclass(frozen=True)
class Listed:
    """One recorded cell.

    Attributes:
        first: The day of the oldest session.
        last: The day of the newest.
        reason: The newest session's.
        p50_ms: The median of the newest session's runs; None where it timed nothing.
        spread: Standard deviation between the sessions of the logarithm of p50, as the gate takes
            it; None with fewer than two.
        unused: Why no cell of the settings is this one; None if one is.
    """

    hardware: str
    model: str
    cell: str
    sessions: int
    first: str
    last: str
    reason: str
    p50_ms: float | None
    spread: float | None
    accepted: tuple[Acceptance, ...] = ()
    unused: str | None = None


@dataclass(frozen=True)
class ListedCases:
    """ONNX's own cases with the version of a runtime that was recorded last.

    Attributes:
        versions: Every recorded version, in the file's order.
        counts: Outcome -> how many cases ended so with the last one, those of none left out.
    """

    hardware: str
    cell: str
    versions: tuple[str, ...]
    version: str
    recorded: str
    reason: str
    counts: Mapping[str, int]
    unused: str | None = None


def list_file(file: BaselineFile, unused: Mapping[str, str]) -> list[Listed]:
    """Return a file's cells by name; cells without sessions have nothing to say but their name.

    Args:
        file: What is recorded.
        unused: Cells that nothing would use -> why.
    """
    rows = []
    for name in sorted(file.cells):
        sessions = file.sessions(name)
        timed = [runs for session in sessions if (runs := session.runs_of("p50"))]
        last = sessions[-1] if sessions else None
        runs = last.runs_of("p50") if last else ()
        rows.append(
            Listed(
                hardware=file.hardware,
                model=file.model,
                cell=name,
                sessions=len(sessions),
                first=sessions[0].recorded[:10] if sessions else "",
                last=last.recorded[:10] if last else "",
                reason=last.reason if last else "",
                p50_ms=statistics.median(runs) if runs else None,
                spread=statistics.stdev(map(log_median, timed)) if len(timed) > 1 else None,
                accepted=file.cells[name].accepted,
                unused=unused.get(name),
            )
        )
    return rows


def list_cases(file: CaseBaseline, unused: Mapping[str, str]) -> list[ListedCases]:
    """Return the cells of a record of ONNX's cases, by name."""
    rows = []
    for name, versions in sorted(file.cells.items()):
        if not versions:
            continue
        version = max(versions, key=lambda each: versions[each].recorded)
        record = versions[version]
        counts = {kind.value: count for kind, count in record.counts().items() if count}
        rows.append(
            ListedCases(
                hardware=file.hardware,
                cell=name,
                versions=tuple(versions),
                version=version,
                recorded=record.recorded[:10],
                reason=record.reason,
                counts=counts,
                unused=unused.get(name),
            )
        )
    return rows
