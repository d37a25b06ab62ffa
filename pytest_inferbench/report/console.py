"""A results document as lines of text: the table and what stands below it, as a session ends with.

Takes `Results`; gives the lines that `report/terminal.py` and its parts write of a gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from pytest_inferbench.ledger import Ledger, count_by_code
from pytest_inferbench.report import rates, resilience, study
from pytest_inferbench.report.document import CellResult, Results
from pytest_inferbench.report.escaping import one_line, visible
from pytest_inferbench.report.messages import counted, covered_line
from pytest_inferbench.report.parts import StudyResult
from pytest_inferbench.report.table import Row, rows_of
from pytest_inferbench.report.terminal import (
    cannot_run_lines,
    compared_lines,
    last_line,
    means_lines,
    render,
)
from pytest_inferbench.settings.objectives import parse_objectives


def lines(results: Results, *, is_coloured: bool = False) -> Iterator[str]:
    """Yield the table of every session's cells, and what is to be said of them."""
    table = rows_of(results)
    if table:
        yield from render(table, is_coloured=is_coloured)
    # a document may come from anywhere: what it says must not steer a terminal
    yield from map(visible, _below(results, table))


def _below(results: Results, table: Sequence[Row]) -> Iterator[str]:
    yield from means_lines(table)
    by_session: list[list[CellResult]] = [[] for _ in results.sessions]
    for cell in results.cells:
        by_session[cell.session].append(cell)
    ledgers = [_ledger(cells) for cells in by_session]
    for number, (own, ledger) in enumerate(zip(by_session, ledgers, strict=True)):
        yield from rates.lines(own, ledger)
        yield from resilience.lines(own, ledger)
        if {"against", "against_model"} & set(results.sessions[number].options):
            yield from compared_lines(ledger.ours)
    cells = {(cell.session, cell.id): cell for cell in results.cells}
    for each in results.serving:
        yield from study.lines(_study(each, cells))
    yield from cannot_run_lines(results.cells)
    yield from map(covered_line, results.onnx_ops)
    for session in results.sessions:
        for required in session.requirements:
            if required.unmet:
                where = f"{session.name}: " if len(results.sessions) > 1 else ""
                yield f"{where}--inferbench-require {required.expression!r}: {required.unmet}"
    yield from (f"left out: {why}" for why in results.left_out)
    yield from results.notices
    entries = [entry for ledger in ledgers for entry in ledger.ours]
    yield last_line(table, count_by_code(entries))


def session_lines(results: Results) -> Iterator[str]:
    """Yield what each session is: its name, when it ended, its commit, how many cells it has."""
    cells = Counter(cell.session for cell in results.cells)
    for number, session in enumerate(results.sessions):
        commit = ""
        if session.git is not None:
            changed = ", with changes" if session.git.dirty else ""
            commit = f", commit {session.git.commit[:12]}{changed}"
        has = counted(cells[number], "cell")
        yield one_line(f"{session.name or 'session'}: {session.recorded}{commit}, {has}")


def _ledger(cells: Iterable[CellResult]) -> Ledger:
    """Return the tests of one session's cells as they stood in its ledger."""
    ledger = Ledger()
    for cell in cells:
        for test in cell.tests:
            payload: dict[str, Any] = msgspec.to_builtins(test)
            told = ("test", "outcome", "reason", "duration_s")
            ledger.note(
                test.test,
                outcome=test.outcome,
                reason=test.reason,
                payload={
                    "cell": cell.id,
                    **{key: value for key, value in payload.items() if key not in told},
                },
            )
    return ledger


def _study(told: StudyResult, cells: dict[tuple[int, str], CellResult]) -> study.Study:
    """Return a study as it was before it was written down."""
    objectives = parse_objectives(dict(told.objectives), lambda _key, _text: None)
    rows = []
    for variant in told.variants:
        plain = msgspec.to_builtins(variant) if variant.measured else {}
        rows.append(
            study.Row(
                cell=cells[told.session, variant.cell],
                figures=study.figures_of(plain) if plain else {},
                split_ms=variant.split_ms,
                told=plain,
                gain=variant.gain,
                missed=variant.missed,
                is_best=variant.best,
                decision=variant.decision or "",
            )
        )
    return study.Study(told.model, told.precision, told.clients, tuple(rows), objectives)
