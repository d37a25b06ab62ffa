"""What is recorded, what changed of it and what would go, as text and as plain types. Pure.

Takes rows and changes of `baselines/`; gives lines for a terminal. Reasons are people's words out
of a file: they are quoted, so that whatever they hold stays on its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_inferbench.baselines.accepted import quoted
from pytest_inferbench.baselines.diff import CasesChange, CellChange, Change
from pytest_inferbench.baselines.differences import lines_of
from pytest_inferbench.baselines.listing import Listed, ListedCases
from pytest_inferbench.baselines.prune import Removal
from pytest_inferbench.baselines.schema import Acceptance
from pytest_inferbench.report.messages import counted, figure, percent

NO_REASON = "no reason given"


def list_lines(rows: Sequence[Listed], cases: Sequence[ListedCases]) -> list[str]:
    """Return the recorded cells by hardware and model."""
    lines = []
    for hardware in sorted({row.hardware for row in rows} | {row.hardware for row in cases}):
        lines.append(hardware)
        own = [row for row in rows if row.hardware == hardware]
        for model in sorted({row.model for row in own}):
            lines.append(f"  {model}")
            of_model = [row for row in own if row.model == model]
            table = _aligned([_cells(row) for row in of_model])
            for row, text in zip(of_model, table, strict=True):
                lines.append(f"    {text}")
                lines += [f"        {acceptance(each)}" for each in row.accepted]
                lines += [f"        unused: {row.unused}"] if row.unused else []
        lines += _cases_lines([row for row in cases if row.hardware == hardware])
    return lines


def _cells(row: Listed) -> list[str]:
    days = row.first if row.first == row.last else f"{row.first} to {row.last}"
    p50 = "no p50" if row.p50_ms is None else f"p50 {figure(row.p50_ms, 'ms')}"
    spread = "" if row.spread is None else f"spread {row.spread:.1%}"
    why = quoted(row.reason) if row.reason else NO_REASON
    return [row.cell, counted(row.sessions, "session"), days, p50, spread, why]


def _cases_lines(rows: Sequence[ListedCases]) -> list[str]:
    table = _aligned(
        [
            [
                row.cell,
                counted(len(row.versions), "version"),
                row.recorded,
                f"{row.version}: " + ", ".join(f"{n} {kind}" for kind, n in row.counts.items()),
                quoted(row.reason) if row.reason else NO_REASON,
            ]
            for row in rows
        ]
    )
    lines = ["  onnx-ops"] if rows else []
    for row, text in zip(rows, table, strict=True):
        lines.append(f"    {text}")
        lines += [f"        unused: {row.unused}"] if row.unused else []
    return lines


def acceptance(each: Acceptance) -> str:
    """Return an accepted regression in one line."""
    worse = ", ".join(f"{metric} {percent(change)}" for metric, change in each.worse.items())
    why = f"reason {quoted(each.reason)}" if each.reason else NO_REASON
    return f"accepted {each.recorded[:10]}: {worse}, {why}"


def diff_lines(changes: Iterable[CellChange], cases: Iterable[CasesChange]) -> list[str]:
    """Return what changed, by cell: what differs first, then the figures."""
    lines = []
    for change in changes:
        lines.append(
            f"{change.model}, {change.cell} on {change.hardware}:"
            f" {change.before} -> {counted(change.now, 'session')}{_fate(change)}"
        )
        for what, sessions in (("removed", change.removed), ("added", change.added)):
            lines += [f"  {what} {each.recorded}, {_why(each.reason)}" for each in sessions]
        lines += [f"  {acceptance(each)}" for each in change.accepted]
        lines += [f"  {text}" for text in lines_of(change.differs)]
        lines += [
            f"  {text}" for text in _aligned([_figure_cells(each) for each in change.figures])
        ]
    return lines + [_cases_change(each) for each in cases]


def _fate(change: CellChange) -> str:
    if not change.before:
        return ", recorded for the first time"
    return "" if change.now else ", no longer recorded"


def _why(reason: str) -> str:
    return f"reason {quoted(reason)}" if reason else NO_REASON


def _figure_cells(change: Change) -> list[str]:
    cells = [change.name, _from_to(change.old, change.new, change.unit, change.change)]
    if change.baseline_old != change.baseline_new and None not in (
        change.baseline_old,
        change.baseline_new,
    ):
        both = _from_to(
            change.baseline_old, change.baseline_new, change.unit, change.baseline_change
        )
        cells.append(f"all sessions {both}")
    return cells


def _from_to(old: float | None, new: float | None, unit: str, change: float | None) -> str:
    shown_old = "nothing" if old is None else f"{old:.6g}" if new is not None else figure(old, unit)
    shown_new = "nothing" if new is None else figure(new, unit)
    return f"{shown_old} -> {shown_new}" + ("" if change is None else f", {percent(change)}")


def _cases_change(each: CasesChange) -> str:
    counts = ", ".join(
        f"{kind} {old} -> {new}" if old != new else f"{kind} {new}"
        for kind, (old, new) in each.counts.items()
    )
    total_old, total_new = (sum(both[i] for both in each.counts.values()) for i in (0, 1))
    fate = f"{counted(each.moved, 'case')} ended otherwise"
    if not total_old or not total_new:
        fate = "no longer recorded" if total_old else "recorded for the first time"
    return (
        f"onnx-ops, {each.cell} with {each.version} on {each.hardware}: {counts}; {fate};"
        f" {_why(each.reason)}"
    )


def prune_lines(removals: Mapping[str, Sequence[Removal]], removed: bool) -> list[str]:
    """Return what goes, or would go, by file.

    Args:
        removals: A file's path -> what goes of it.
        removed: Whether it has gone.
    """
    verb = "removed" if removed else "would remove"
    return [
        f"{verb} {_goes(removal)} of {removal.cell} in {path}"
        f" ({'the cell goes' if not removal.left else f'{removal.left} stay'}): {removal.why}"
        for path, of_file in removals.items()
        for removal in of_file
    ]


def _goes(removal: Removal) -> str:
    return counted(removal.sessions, removal.what)


def plain_change(change: CellChange) -> dict[str, Any]:
    """Return a cell's change as plain types."""
    import msgspec

    def session(each: Any) -> dict[str, str]:
        return {"recorded": each.recorded, "reason": each.reason}

    return {
        "hardware": change.hardware,
        "model": change.model,
        "cell": change.cell,
        "sessions": {"old": change.before, "new": change.now},
        "added": [session(each) for each in change.added],
        "removed": [session(each) for each in change.removed],
        "accepted": [msgspec.to_builtins(each) for each in change.accepted],
        "differs": [msgspec.to_builtins(each) for each in change.differs],
        "figures": [
            {**msgspec.to_builtins(each), "change": each.change} for each in change.figures
        ],
    }


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with their columns in line; what is empty everywhere takes no room."""
    count = max(map(len, table), default=0)
    filled = [[*row, *[""] * (count - len(row))] for row in table]
    widths = [max(len(row[i]) for row in filled) for i in range(count)]
    return [
        "  ".join(
            f"{cell:{width}}" for cell, width in zip(row, widths, strict=True) if width
        ).rstrip()
        for row in filled
    ]
