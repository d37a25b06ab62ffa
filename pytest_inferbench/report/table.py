"""The rows that people read: takes cells and the ledger, gives one row a cell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from pytest_inferbench.judge.verdict import PASSING, Verdict, worst
from pytest_inferbench.ledger import Entry, Ledger
from pytest_inferbench.matrix import Cell

if TYPE_CHECKING:
    from pytest_inferbench.report.document import CellResult, Results

Named: TypeAlias = "Cell | CellResult"
"""A cell, of the matrix or of a results document."""

FAILED = "failed"
"""Stands for a cell whose test failed without a judgement: a crash, an error, a broken model."""


@dataclass(frozen=True)
class Row:
    """One cell as people read it.

    Attributes:
        figures: Whatever was measured, by name with its unit (`p50_ms`, `map`, `peak_mib`).
        verdict: The worst of its tests.
        codes: The codes of everything that is not a plain pass.
        speedup: How much faster it is than its model's slowest fp32 cell on that hardware.
        session: The name of its session, where its cell is in several; else empty.
    """

    cell: Named
    figures: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    codes: tuple[str, ...] = ()
    speedup: float | None = None
    session: str = ""


MOST_ROWS = 200
"""Rows of a table in a terminal; more are read by nobody."""


def fitting(table: Sequence[Row], most: int = MOST_ROWS) -> tuple[list[Row], str]:
    """Return the rows that a terminal shows, and a line about the others; "" where there are none.

    What is no plain pass is shown before what is, and all in the order that they had.
    """
    if len(table) <= most:
        return list(table), ""
    by_need = sorted(range(len(table)), key=lambda i: table[i].verdict in PASSING)
    kept = sorted(by_need[:most])
    passing = sum(table[i].verdict in PASSING for i in by_need[most:])
    others = len(table) - most - passing
    also = f" and {others} that do not" if others else ""
    left_out = f"not shown: {passing} cells that pass{also}; --inferbench-json has them all"
    return [table[i] for i in kept], left_out


def rows(cells: Sequence[Cell], ledger: Ledger) -> list[Row]:
    """Return a row for every cell that ran, in the matrix's order."""
    entries_by_cell = ledger.by_cell()
    found = [
        _row(cell, entries_by_cell[cell.id])
        for cell in cells
        if cell.id in entries_by_cell and not cell.cannot_run
    ]
    faster = speedups(found)
    return [replace(row, speedup=faster.get(row.cell.id)) for row in found]


def rows_of(results: Results) -> list[Row]:
    """Return a row for every cell of a document that could run, in the document's order."""
    several = {cell.id for cell in in_several_sessions(results)}
    return [
        Row(
            cell,
            cell.figures,
            cell.verdict,
            cell.codes,
            cell.speedup,
            results.session_of(cell).name if cell.id in several else "",
        )
        for cell in results.cells
        if not cell.cannot_run
    ]


def in_several_sessions(results: Results) -> list[CellResult]:
    """Return the cells that more than one session of a document has."""
    sessions: dict[str, set[int]] = {}
    for cell in results.cells:
        sessions.setdefault(cell.id, set()).add(cell.session)
    return [cell for cell in results.cells if len(sessions[cell.id]) > 1]


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
