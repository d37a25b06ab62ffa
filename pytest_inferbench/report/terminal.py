"""The table at the end of a run: takes the gate, writes to pytest's terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_inferbench.ledger import Entry, count_by_code
from pytest_inferbench.report import rates, resilience, study
from pytest_inferbench.report.columns import columns
from pytest_inferbench.report.explanations import pointer
from pytest_inferbench.report.messages import counted, percent
from pytest_inferbench.report.table import Named, Row, fitting, rows

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

_STYLES = {"pass": "green", "improved": "bold green", "regressed": "bold red", "failed": "bold red"}


def summarize(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    """Write the table, the notices and the line of counts."""
    table = rows(gate.cells, gate.ledger)
    if not table and not gate.notices and not gate.ledger.ours:
        return
    reporter.section("inference gate")
    if table:
        lines = render(table, is_coloured=reporter.hasmarkup)
        reporter.write("".join(f"{line}\n" for line in lines), flush=True)
    for line in _lines(gate, table):
        reporter.write_line(line)


def _lines(gate: Gate, table: Sequence[Row]) -> Iterator[str]:
    """Yield what stands below the table."""
    yield from means_lines(table)
    yield from rates.lines(gate.cells, gate.ledger)
    for each in study.of_gate(gate):
        yield from study.lines(each)
    yield from resilience.lines(gate.cells, gate.ledger)
    if gate.options.compares:
        yield from compared_lines(gate.ledger.ours)
    shown = {entry.cell for entry in gate.ledger.ours}
    yield from cannot_run_lines(c for c in (*gate.cells, *gate.onnx_cells) if c.id in shown)
    yield from _coverage_lines(gate)
    yield from gate.notices
    if table:
        yield last_line(table, count_by_code(gate.ledger.ours))
        not_asked = sum("not_asked" in entry.payload for entry in gate.ledger.ours)
        if not_asked:
            yield (
                f"not asked: {counted(not_asked, 'question')} that some cells cannot be asked"
                " (IB-640; -rs shows why)"
            )
    if line := pointer(gate.ledger, gate.notices):
        yield line


def compared_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield what each comparison side by side came to, those that pass included."""
    for entry in entries:
        for judgement in entry.payload.get("judgements", ()):
            change = judgement["change"]
            if change is not None:
                low, value, high = (percent(change[name]) for name in ("low", "value", "high"))
                yield (
                    f"{entry.cell}: {judgement['metric']} {value} (between {low} and {high}),"
                    f" {judgement['detail']}"
                )


def last_line(table: Sequence[Row], undecided: Mapping[str, int]) -> str:
    """Return how many cells ended how, and what was left without a verdict."""
    verdicts = Counter(row.verdict for row in table)
    cells = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    line = f"inferbench: {counted(len(table), 'cell')}: {cells}"
    if undecided:
        figures = ", ".join(f"{count} {label}" for label, count in sorted(undecided.items()))
        line += f"; figures without a verdict: {figures}"
    return line


def _coverage_lines(gate: Gate) -> Iterator[str]:
    from pytest_inferbench.errors import InferbenchError
    from pytest_inferbench.onnx_cases.recording import differences
    from pytest_inferbench.report.coverage import summary

    for covered in gate.coverage():
        yield from summary(covered)
        try:
            yield from differences(gate, covered)
        except InferbenchError as error:  # each of its cases has failed with it
            yield f"  {error}"


def means_lines(table: Iterable[Row]) -> Iterator[str]:
    """Say whose percentiles are of means: calls too short for a clock read each."""
    means = [
        f"{row.cell.model} {row.cell.backend} {row.cell.precision} ({calls:.0f})"
        for row in table
        if (calls := row.figures.get("calls_per_sample", 1)) > 1
    ]
    if means:
        yield f"p99 is of means of several calls (so many): {', '.join(means)}"


def cannot_run_lines(cells: Iterable[Named]) -> Iterator[str]:
    """Say which cells cannot run here, a line a reason."""
    by_reason: dict[str, list[str]] = {}
    for cell in cells:
        if cell.cannot_run:
            by_reason.setdefault(cell.cannot_run, []).append(
                f"{cell.model} {cell.backend} {cell.precision}"
            )
    for reason, named in by_reason.items():
        yield f"cannot run here: {', '.join(named)}: {reason}"


def render(table: Sequence[Row], *, is_coloured: bool) -> list[str]:
    """Return the table of cells, line by line; no line is ever cut, whatever the terminal.

    Of very many cells those that pass may be left out; a line says how many.

    Args:
        table: A row a cell.
        is_coloured: Whether the terminal shows colours.
    """
    from rich.cells import cell_len
    from rich.color import ColorSystem
    from rich.style import Style

    table, left_out = fitting(table)
    shown = columns(table)
    widths = [max(map(cell_len, (column.title, *column.texts))) for column in shown]
    styles = [Style.parse(name) for name in ("bold", *(_style(row) for row in table))]
    lines = []
    for number, style in enumerate(styles):
        texts = [column.texts[number - 1] if number else column.title for column in shown]
        padded = []
        for column, text, width in zip(shown, texts, widths, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if column.is_number else text + space)
        line = "  ".join(padded)
        system = ColorSystem.STANDARD if is_coloured else None
        lines.append(style.render(line, color_system=system))
    return [*lines, left_out] if left_out else lines


def _style(row: Row) -> str:
    return _STYLES.get(row.verdict, "yellow")
