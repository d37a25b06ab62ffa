"""How ONNX's own cases ended: takes the ledger's entries, gives counts and tables.

Pure but for `write_coverage`. Every outcome is counted and shown; none stands for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_inferbench.ledger import Entry
from pytest_inferbench.onnx_cases.outcomes import Kind, Verdict
from pytest_inferbench.report.messages import counted, first_of

_WORST_OPS = 8
_NAMED_CASES = 10
_NOTABLE = (Verdict.REGRESSED, Verdict.FAILED, Verdict.IMPROVED, Verdict.KNOWN)


@dataclass
class Coverage:
    """The cases of one cell.

    Attributes:
        cell: The cell's id.
        version: The runtime and its version; empty where no case got that far.
        onnx: The version of the `onnx` package.
        outcomes: How many cases ended how.
        verdicts: How many cases were judged how.
        ops: (operator, opset) -> how many of its cases ended how.
        notes: What was said of cases however they ended -> how many.
        named: Verdict -> the cases, where somebody should look at them.
        not_run: Cases that broke before they ended in any way.
    """

    cell: str
    version: str = ""
    onnx: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    ops: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)
    not_run: int = 0

    @property
    def total(self) -> int:
        """How many cases were to run."""
        return sum(self.outcomes.values()) + self.not_run

    def add(self, case: Mapping[str, Any]) -> None:
        """Count one case, as its test told of it."""
        self.version, self.onnx = case["version"], case["onnx"]
        self.outcomes[case["outcome"]] += 1
        self.verdicts[case["verdict"]] += 1
        self.ops.setdefault((case["op"], case["opset"]), Counter())[case["outcome"]] += 1
        if case["note"]:
            self.notes[case["note"]] += 1
        self.named.setdefault(case["verdict"], []).append(case["name"])


def coverage(entries: Iterable[Entry], cells: Iterable[str]) -> list[Coverage]:
    """Return the cases of each cell that ran any.

    Args:
        entries: The ledger's, others' included.
        cells: The ids of the cells that cases run on, in order.
    """
    by_cell = {cell: Coverage(cell) for cell in cells}
    for entry in entries:
        found = by_cell.get(entry.cell or "")
        if found is None:
            continue
        case = entry.payload.get("onnx_case")
        if case is not None:
            found.add(case)
        elif entry.outcome == "failed":
            found.not_run += 1
    return [each for each in by_cell.values() if each.total]


def summary(covered: Coverage) -> list[str]:
    """Return what the terminal says of a cell."""
    lines = [
        f"{covered.cell} ({covered.version or 'no version'}, onnx {covered.onnx or '?'}):"
        f" {counted(covered.total, 'case')}: {_counts(covered)}"
    ]
    judged = [
        f"{covered.verdicts[verdict.value]} {verdict.value}"
        for verdict in _NOTABLE
        if covered.verdicts[verdict.value]
    ]
    if judged:
        lines.append(f"  against what is recorded: {', '.join(judged)}")
    for verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        names = covered.named.get(verdict.value, [])
        if names:
            lines.append(f"  {verdict.value}: {first_of(names, _NAMED_CASES)}")
    lines += [f"  {note}: {counted(count, 'case')}" for note, count in covered.notes.items()]
    worst = worst_ops(covered)
    if worst:
        shown = ", ".join(f"{op} {passed}/{total}" for op, passed, total in worst[:_WORST_OPS])
        lines.append(f"  least passed: {shown}")
    return lines


def worst_ops(covered: Coverage) -> list[tuple[str, int, int]]:
    """Return (operator, passed, cases) of those that do not pass all, most cases lost first."""
    by_op: dict[str, Counter[str]] = {}
    for (op, _), outcomes in covered.ops.items():
        by_op[op] = by_op.get(op, Counter()) + outcomes
    found = [(op, each[Kind.PASSED.value], sum(each.values())) for op, each in by_op.items()]
    lost = [(op, passed, total) for op, passed, total in found if passed < total]
    return sorted(lost, key=lambda row: (row[1] - row[2], row[0]))


def plain(covered: Coverage) -> dict[str, Any]:
    """Return a cell's coverage for `--inferbench-json`."""
    return {
        "cell": covered.cell,
        "version": covered.version,
        "onnx": covered.onnx,
        "outcomes": {**dict(covered.outcomes), **_not_run(covered)},
        "verdicts": dict(covered.verdicts),
        "notes": dict(covered.notes),
        "ops": [
            {"op": op, "opset": opset, **outcomes}
            for (op, opset), outcomes in sorted(covered.ops.items())
        ],
        "cases": {verdict: names for verdict, names in covered.named.items() if verdict != "pass"},
    }


def markdown(covered: Sequence[Coverage]) -> str:
    """Return the coverage of all cells: counts, then a table per operator and opset."""
    lines = ["# ONNX's own cases", ""]
    lines += [f"- {line.strip()}" for each in covered for line in summary(each)]
    lines += ["", "Cells are passed / cases; what did not pass is spelt out behind.", ""]
    lines.append("| operator | opset | " + " | ".join(each.cell for each in covered) + " |")
    lines.append("|---|---|" + "---|" * len(covered))
    for key in sorted({key for each in covered for key in each.ops}):
        cells = " | ".join(_cell(each.ops.get(key)) for each in covered)
        lines.append(f"| {key[0]} | {key[1]} | {cells} |")
    return "\n".join(lines) + "\n"


def write_coverage(path: Path, covered: Sequence[Coverage]) -> None:
    """Write the Markdown file, atomically.

    Raises:
        OSError: It could not be written; an earlier one is left as it was.
    """
    from pytest_inferbench.report.reading import write_text

    write_text(markdown(covered), path)


def _counts(covered: Coverage) -> str:
    counts = {kind.value: covered.outcomes[kind.value] for kind in Kind}
    return ", ".join(
        f"{count} {name}" for name, count in {**counts, **_not_run(covered)}.items() if count
    )


def _not_run(covered: Coverage) -> dict[str, int]:
    return {"not run": covered.not_run} if covered.not_run else {}


def _cell(outcomes: Counter[str] | None) -> str:
    if outcomes is None:
        return ""
    total = sum(outcomes.values())
    rest = ", ".join(
        f"{outcomes[kind.value]} {kind.value}"
        for kind in Kind
        if kind is not Kind.PASSED and outcomes[kind.value]
    )
    return f"{outcomes[Kind.PASSED.value]} / {total}" + (f" ({rest})" if rest else "")
