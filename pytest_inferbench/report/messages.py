"""Sentences for people: takes a cell and its judgements, gives text. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pytest_inferbench.baselines.differences import Difference, in_brief, lines_of
from pytest_inferbench.judge.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.report.parts import CoverageResult

_NAMED_CASES = 10
_UNITS_NOT_SAID = ("", "ratio", "value")


class Change(Protocol):
    """A change with its bounds, as a judge or a results document has it."""

    @property
    def low(self) -> float:
        """The lower bound, as a fraction."""

    @property
    def value(self) -> float:
        """The change itself."""

    @property
    def high(self) -> float:
        """The upper bound."""


def failure(
    cell: Cell,
    judgements: Iterable[Judgement],
    context: Mapping[str, str],
    differs: Sequence[Difference] | None = None,
) -> str:
    """Say which cell failed, what else is not as it was, by how much, and what to do.

    Args:
        cell: The cell.
        judgements: All of its judgements; those that did not regress are mentioned briefly.
        context: Other lines worth reading: label -> text.
        differs: What is not as it was when the baseline was recorded; None without one.
    """
    judgements = list(judgements)
    regressed = [j for j in judgements if j.verdict is Verdict.REGRESSED]
    # pytest's summary shows the first line and no other
    names = dict.fromkeys(j.metric for j in regressed)
    differing = f"{in_brief(differs)}; " if differs else ""
    lines = [f"{cell}: {differing}{' and '.join(names)} regressed"]
    if differs is not None:
        told = lines_of(differs) or ["nothing recorded differs from the baseline's last session"]
        lines += [f"  {text}" for text in told]
    for judgement in regressed:
        lines.append("  " + statement(judgement))
        lines += [f"    {part}" for part in judgement.detail.split("; ") if part]
    others = [
        f"{j.metric} {figure(j.value, j.unit)} ({j.verdict.value})"
        for j in judgements
        if j.verdict is not Verdict.REGRESSED
    ]
    if others:
        lines.append("  beside it: " + ", ".join(others))
    lines += [f"  {label}: {text}" for label, text in context.items()]
    return "\n".join(lines)


def skip(cell: Cell, judgements: Iterable[Judgement]) -> str:
    """Say in one line why nothing was concluded; what is to be said of several is said once."""
    by_detail: dict[str, list[str]] = {}
    for judgement in judgements:
        if not judgement.verdict.is_reached:
            by_detail.setdefault(judgement.detail, []).append(statement(judgement))
    said = ["; ".join([*statements, detail]) for detail, statements in by_detail.items()]
    return f"{cell}: " + "; ".join(said)


def statement(judgement: Judgement) -> str:
    """Return a judgement in one line: code, figure, baseline, interval, budget."""
    j = judgement
    head = f"[{j.code}] {j.metric} {j.verdict.value}"
    if not math.isfinite(j.value):
        return f"{head}, budget {j.budget}" if j.budget else head
    parts = [f"{head}: {figure(j.value, j.unit)}"]
    if j.change is not None and j.baseline is not None:
        parts[0] += f" against {figure(j.baseline, j.unit)}"
        parts.append(changed(j.change))
    parts.append(f"budget {j.budget}")
    if j.verdict is Verdict.INCONCLUSIVE and j.smallest_visible is not None:
        parts.append(f"visible from {percent(j.smallest_visible)}")
    return ", ".join(parts)


def figure(value: float, unit: str) -> str:
    """Return a number with its unit, at a precision a person can read."""
    if not math.isfinite(value):
        return "no figure" if math.isnan(value) else f"{value:+}"
    if unit in _UNITS_NOT_SAID:
        return f"{value:.6g}"
    digits = ".0f" if abs(value) >= 1000 else ".4g"
    return f"{value:{digits}} {unit}"


def percent(change: float) -> str:
    """Return a fraction as a signed percentage, without digits that mean nothing."""
    return f"{change:+.1%}" if abs(change) < 1 else f"{change:+.0%}"


def counted(count: int, noun: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_of(names: Sequence[str], most: int) -> str:
    """Return names in a row, no more than so many, and how many others there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def changed(change: Change) -> str:
    """Return a change with its bounds: "+64.8% (between +36.0% and +85.1%)"."""
    return f"{percent(change.value)} (between {percent(change.low)} and {percent(change.high)})"


def covered_line(covered: CoverageResult) -> str:
    """Say in a line how ONNX's own cases ended on a cell, and name those that failed."""
    counts = ", ".join(f"{count} {name}" for name, count in covered.outcomes.items() if count)
    total = counted(sum(covered.outcomes.values()), "case")
    line = f"{covered.cell} ({covered.version}, onnx {covered.onnx}): {total}: {counts}"
    for verdict in ("regressed", "failed"):
        if cases := covered.cases.get(verdict, ()):
            line += f"; {verdict}: {first_of(cases, _NAMED_CASES)}"
    return line
