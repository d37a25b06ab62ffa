"""The table at the end of a run: takes the gate, writes to pytest's terminal."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_inferbench.launches import PARTS
from pytest_inferbench.ledger import Entry, count_by_code
from pytest_inferbench.report import rates, resilience, study
from pytest_inferbench.report.explanations import pointer
from pytest_inferbench.report.messages import counted, percent
from pytest_inferbench.report.table import Row, rows, speedups

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

# A column each where some cell has the figure.
_SCORES = {
    "top1": "top-1",
    "top1_agreement": "top-1 kept",
    "recall_at_k": "recall@k",
    "mask_iou": "mask IoU",
    "miou": "mIoU",
    "token_agreement": "tokens kept",
    "wer": "WER",
}
_STYLES = {"pass": "green", "improved": "bold green", "regressed": "bold red", "failed": "bold red"}

_TOLD = {"device_peak_mib": "device MiB", "watts": "W", "joules_per_inference": "J/inf"}
"""Figures that have a column where any cell has them."""


def summarize(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    """Write the table, the notices and the line of counts."""
    table = rows(gate.cells, gate.ledger)
    if not table and not gate.notices and not gate.ledger.ours:
        return
    reporter.section("inference gate")
    if table:
        reporter.write(_render(table, reporter), flush=True)
    _write_means(table, reporter)
    for line in rates.lines(gate.cells, gate.ledger):
        reporter.write_line(line)
    for each in study.of_gate(gate):
        for line in study.lines(each):
            reporter.write_line(line)
    for line in resilience.lines(gate.cells, gate.ledger):
        reporter.write_line(line)
    if gate.options.compares:
        for line in compared_lines(gate.ledger.ours):
            reporter.write_line(line)
    _write_what_cannot_run(gate, reporter)
    _write_coverage(gate, reporter)
    for notice in gate.notices:
        reporter.write_line(notice)
    if table:
        reporter.write_line(last_line(table, count_by_code(gate.ledger.ours)))
        not_asked = sum("not_asked" in entry.payload for entry in gate.ledger.ours)
        if not_asked:
            reporter.write_line(
                f"not asked: {counted(not_asked, 'question')} that some cells cannot be asked"
                " (IB-640; -rs shows why)"
            )
    if line := pointer(gate.ledger, gate.notices):
        reporter.write_line(line)


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


def last_line(table: list[Row], undecided: Mapping[str, int]) -> str:
    """Return how many cells ended how, and what was left without a verdict."""
    verdicts = Counter(row.verdict for row in table)
    cells = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    line = f"inferbench: {counted(len(table), 'cell')}: {cells}"
    if undecided:
        figures = ", ".join(f"{count} {label}" for label, count in sorted(undecided.items()))
        line += f"; figures without a verdict: {figures}"
    return line


def _write_coverage(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    from pytest_inferbench.errors import InferbenchError
    from pytest_inferbench.onnx_cases.recording import differences
    from pytest_inferbench.report.coverage import summary

    for covered in gate.coverage():
        try:
            lines = [*summary(covered), *differences(gate, covered)]
        except InferbenchError as error:  # each of its cases has failed with it
            lines = [*summary(covered), f"  {error}"]
        for line in lines:
            reporter.write_line(line)


def _write_means(table: list[Row], reporter: pytest.TerminalReporter) -> None:
    """Say whose percentiles are of means: calls too short for a clock read each."""
    means = [
        f"{row.cell.model} {row.cell.backend} {row.cell.precision} ({calls:.0f})"
        for row in table
        if (calls := row.figures.get("calls_per_sample", 1)) > 1
    ]
    if means:
        reporter.write_line(f"p99 is of means of several calls (so many): {', '.join(means)}")


def _write_what_cannot_run(gate: Gate, reporter: pytest.TerminalReporter) -> None:
    by_reason: dict[str, list[str]] = {}
    shown = {entry.cell for entry in gate.ledger.ours}
    for cell in (*gate.cells, *gate.onnx_cells):
        if cell.cannot_run and cell.id in shown:
            by_reason.setdefault(cell.cannot_run, []).append(
                f"{cell.model} {cell.backend} {cell.precision}"
            )
    for reason, cells in by_reason.items():
        reporter.write_line(f"cannot run here: {', '.join(cells)}: {reason}")


def _render(table: list[Row], reporter: pytest.TerminalReporter) -> str:
    from rich.console import Console
    from rich.table import Table

    faster = speedups(table)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "backend", "precision"):
        grid.add_column(title)
    # Only services have a network to speak of.
    split = [name for name in PARTS if any(name in row.figures for row in table)]
    parts = [name.replace("_", " ") for name in split]
    # Not every machine tells what its devices hold and draw, and tasks have their own scores.
    told = [name for name in _TOLD if any(name in row.figures for row in table)]
    titles = [_TOLD[name] for name in told]
    scored = [name for name in _SCORES if any(name in row.figures for row in table)]
    scores = ["mAP", *(_SCORES[name] for name in scored), "cosine"]
    for title in ("p50 ms", "p99 ms", *parts, "speed-up", "MiB", *titles, *scores):
        grid.add_column(title, justify="right")
    grid.add_column("verdict")
    for row in table:
        verdict = " ".join([row.verdict, *row.codes])
        grid.add_row(
            row.cell.model,
            row.cell.backend,
            row.cell.precision,
            _number(row.figures.get("p50_ms"), ".3f"),
            _number(row.figures.get("p99_ms"), ".3f"),
            *(_number(row.figures.get(name), ".3f") for name in split),
            _number(faster.get(row.cell.id), ".2f", "x"),
            _number(row.figures.get("peak_mib"), ".0f"),
            *(_number(row.figures.get(name), ".3g") for name in told),
            _number(row.figures.get("map"), ".4f"),
            *(_number(row.figures.get(name), ".4f") for name in scored),
            _number(row.figures.get("cosine"), ".6f"),
            verdict,
            style=None,
        )
        grid.rows[-1].style = _STYLES.get(row.verdict, "yellow") if reporter.hasmarkup else ""
    text = io.StringIO()
    # Wide enough that no figure is ever cut, whatever the terminal: a log has no width.
    width = max(reporter._tw.fullwidth, 110)
    console = Console(file=text, width=width, force_terminal=reporter.hasmarkup, highlight=False)
    console.print(grid)
    return text.getvalue()


def _number(value: float | None, spec: str, suffix: str = "") -> str:
    return "" if value is None else f"{value:{spec}}{suffix}"
