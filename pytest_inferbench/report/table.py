"""The rows that people read: takes cells and the ledger, gives one row a cell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pytest_inferbench.judge.verdict import Verdict, worst
from pytest_inferbench.ledger import Entry, Ledger
from pytest_inferbench.matrix import Cell

FAILED = "failed"
"""Stands for a cell whose test failed without a judgement: a crash, an error, a broken model."""


@dataclass(frozen=True)
class Row:
    """One cell as people read it.

    Attributes:
        figures: Whatever was measured, by name with its unit (`p50_ms`, `map`, `peak_mib`).
        verdict: The worst of its tests.
        codes: The codes of everything that is not a plain pass.
    """

    cell: Cell
    figures: dict[str, float] = field(default_factory=dict)
    verdict: str = ""
    codes: tuple[str, ...] = ()


def rows(cells: Sequence[Cell], ledger: Ledger) -> list[Row]:
    """Return a row for every cell that ran, in the matrix's order."""
    entries_by_cell = ledger.by_cell()
    return [
        _row(cell, entries_by_cell[cell.id])
        for cell in cells
        if cell.id in entries_by_cell and not cell.cannot_run
    ]


def _row(cell: Cell, entries: Iterable[Entry]) -> Row:
    figures: dict[str, float] = {}
    verdicts: list[Verdict] = []
    codes: list[str] = []
    broken = False
    for entry in entries:
        figures.update(entry.payload.get("figures", {}))
        judgements = entry.payload.get("judgements", ())
        verdicts += [Verdict(judgement["verdict"]) for judgement in judgements]
        codes += [j["code"] for j in judgements if j["code"] != "IB-600"]
        said_so = any(j["verdict"] == "regressed" for j in judgements)
        broken |= entry.outcome == "failed" and not said_so
        if entry.outcome == "passed" and not judgements:
            verdicts.append(Verdict.PASS)
    verdict = FAILED if broken else worst(verdicts).value if verdicts else "skipped"
    return Row(cell, figures, verdict, tuple(dict.fromkeys(codes)))


def speedups(table: Sequence[Row]) -> dict[str, float]:
    """Return how much faster each cell is than its model's slowest fp32 cell on that hardware."""
    slowest: dict[tuple[str, str], float] = {}
    for row in table:
        key = (row.cell.model, row.cell.hardware)
        if row.cell.precision == "fp32" and "p50_ms" in row.figures:
            slowest[key] = max(slowest.get(key, 0.0), row.figures["p50_ms"])
    return {
        row.cell.id: slowest[key] / row.figures["p50_ms"]
        for row in table
        if (key := (row.cell.model, row.cell.hardware)) in slowest and "p50_ms" in row.figures
    }
