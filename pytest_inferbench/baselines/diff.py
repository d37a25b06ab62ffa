"""What changed between two states of the recorded sessions: takes files, gives changes by cell.

Pure: knows neither git nor the terminal. Equal sessions are one, wherever they stand in a file.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from pytest_inferbench.baselines.differences import Difference, differences
from pytest_inferbench.baselines.schema import Acceptance, BaselineFile, Session
from pytest_inferbench.judge.statistics import log_median
from pytest_inferbench.onnx_cases.baseline import CaseBaseline, Record

TOLD = (("p5", "ms"), ("p50", "ms"), ("memory", "MiB"), ("cold_start", "ms"))
"""The metrics that a diff tells, with their units."""


@dataclass(frozen=True)
class Change:
    """One figure of a cell's last session, before and after; None where there is none.

    Attributes:
        baseline_old: What the gate compared with: the geometric mean of all sessions' figures.
        baseline_new: What it compares with now.
    """

    name: str
    unit: str
    old: float | None
    new: float | None
    baseline_old: float | None = None
    baseline_new: float | None = None

    @property
    def change(self) -> float | None:
        """The change as a fraction of the old figure; None where that says nothing."""
        return relative(self.old, self.new)

    @property
    def baseline_change(self) -> float | None:
        """The same of what the gate compares with."""
        return relative(self.baseline_old, self.baseline_new)


@dataclass(frozen=True)
class CellChange:
    """What changed of one recorded cell.

    Attributes:
        added: Sessions that are new, oldest first.
        removed: Sessions that are gone, oldest first.
        before: How many there were.
        now: How many there are.
        figures: The last session's figures, before and after; none when it is the same session.
        differs: The last session's environment, before and after.
        accepted: Regressions whose acceptance is new.
    """

    hardware: str
    model: str
    cell: str
    before: int
    now: int
    added: tuple[Session, ...] = ()
    removed: tuple[Session, ...] = ()
    figures: tuple[Change, ...] = ()
    differs: tuple[Difference, ...] = ()
    accepted: tuple[Acceptance, ...] = ()


@dataclass(frozen=True)
class CasesChange:
    """How the outcomes of ONNX's own cases with one version of a runtime changed.

    Attributes:
        counts: Outcome -> how many ended so before, and now; outcomes that never occur left out.
        moved: How many cases that are in both end otherwise.
        reason: As the newer record says.
    """

    hardware: str
    cell: str
    version: str
    counts: Mapping[str, tuple[int, int]]
    moved: int
    reason: str = ""


Files = Mapping[tuple[str, str], BaselineFile]
"""Baseline files by hardware and model."""


def relative(old: float | None, new: float | None) -> float | None:
    """Return a change as a fraction; None without two figures, or from what is not above 0."""
    if old is None or new is None or old <= 0 or not math.isfinite(new / old):
        return None
    return new / old - 1


def diff(old: Files, new: Files) -> list[CellChange]:
    """Return every cell whose sessions or acceptances changed, in order of their names."""
    found = []
    for hardware, model in sorted(old.keys() | new.keys()):
        before, now = old.get((hardware, model)), new.get((hardware, model))
        cells = {*(before.cells if before else ()), *(now.cells if now else ())}
        for cell in sorted(cells):
            change = _cell_change(before, now, hardware, model, cell)
            if change is not None:
                found.append(change)
    return found


def diff_cases(
    old: Mapping[str, CaseBaseline], new: Mapping[str, CaseBaseline]
) -> list[CasesChange]:
    """Return every runtime's version of which a case's outcome, or the set of cases, changed."""
    found = []
    for hardware, cell, version in sorted({*_records(old)} | {*_records(new)}):
        before, now = (_record(each, hardware, cell, version) for each in (old, new))
        was, ended = (each.outcomes() if each else {} for each in (before, now))
        if was == ended:
            continue
        then_counts, now_counts = (each.counts() if each else {} for each in (before, now))
        counts = {
            kind.value: (then_counts.get(kind, 0), now_counts.get(kind, 0))
            for kind in {**then_counts, **now_counts}
            if then_counts.get(kind) or now_counts.get(kind)
        }
        moved = sum(was[name] != ended[name] for name in was.keys() & ended.keys())
        newest = now or before
        reason = newest.reason if newest else ""
        found.append(CasesChange(hardware, cell, version, counts, moved, reason))
    return found


def _records(files: Mapping[str, CaseBaseline]) -> Iterator[tuple[str, str, str]]:
    for hardware, file in files.items():
        for cell, versions in file.cells.items():
            yield from ((hardware, cell, version) for version in versions)


def _record(
    files: Mapping[str, CaseBaseline], hardware: str, cell: str, version: str
) -> Record | None:
    return files[hardware].cells.get(cell, {}).get(version) if hardware in files else None


def _cell_change(
    before: BaselineFile | None, now: BaselineFile | None, hardware: str, model: str, cell: str
) -> CellChange | None:
    old, new = (file.sessions(cell) if file else () for file in (before, now))
    old_texts, new_texts = ([_text(each) for each in sessions] for sessions in (old, new))
    accepted = _new_acceptances(before, now, cell)
    if sorted(old_texts) == sorted(new_texts) and not accepted:
        return None
    added = [each for each, text in zip(new, new_texts, strict=True) if text not in old_texts]
    removed = [each for each, text in zip(old, old_texts, strict=True) if text not in new_texts]
    return CellChange(
        hardware=hardware,
        model=model,
        cell=cell,
        before=len(old),
        now=len(new),
        added=_by_time(added),
        removed=_by_time(removed),
        figures=_figures(_by_time(old), _by_time(new)),
        differs=_differs(_by_time(old), _by_time(new)),
        accepted=accepted,
    )


def _text(each: Session | Acceptance) -> bytes:
    return msgspec.json.encode(each, order="sorted")


def _by_time(sessions: Iterable[Session]) -> tuple[Session, ...]:
    return tuple(sorted(sessions, key=lambda each: (each.recorded_at, _text(each))))


def _new_acceptances(
    before: BaselineFile | None, now: BaselineFile | None, cell: str
) -> tuple[Acceptance, ...]:
    old, new = (
        file.cells[cell].accepted if file and cell in file.cells else () for file in (before, now)
    )
    known = {_text(each) for each in old}
    return tuple(each for each in new if _text(each) not in known)


def _figures(old: tuple[Session, ...], new: tuple[Session, ...]) -> tuple[Change, ...]:
    """The figures that a reader of a change wants: every metric told, and scores that moved."""
    changes = [
        change
        for name, unit in TOLD
        if (
            change := Change(
                name,
                unit,
                _median(old, name),
                _median(new, name),
                _baseline(old, name),
                _baseline(new, name),
            )
        )
        and (change.old, change.baseline_old) != (change.new, change.baseline_new)
    ]
    then, now = (each[-1].scores if each else {} for each in (old, new))
    changes += [
        Change(name, "", then.get(name), now.get(name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    return tuple(changes)


def _median(sessions: tuple[Session, ...], metric: str) -> float | None:
    runs = sessions[-1].runs_of(metric) if sessions else ()
    return statistics.median(runs) if runs else None


def _baseline(sessions: tuple[Session, ...], metric: str) -> float | None:
    logs = [log_median(runs) for session in sessions if (runs := session.runs_of(metric))]
    return math.exp(statistics.fmean(logs)) if logs else None


def _differs(old: tuple[Session, ...], new: tuple[Session, ...]) -> tuple[Difference, ...]:
    if not old or not new:
        return ()
    before, now = old[-1], new[-1]
    return differences(before.environment, now.environment, (before.artifact, now.artifact))
