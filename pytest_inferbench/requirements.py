"""`--inferbench-require EXPR`: these cells must reach a verdict.

Takes an expression, the whole matrix and the ledger; gives what is not met, as text. Matched on
the matrix before `-m` and `-k`, so that no selection can make a requirement vanish.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pytest
from _pytest.mark import _parse_expression  # what it raises differs among versions, this does not
from _pytest.mark.expression import Expression

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.ledger import Entry, Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.settings.spelling import nearest


def check_expression(expression: str, option: str = "--inferbench-require") -> None:
    """Refuse what is no marker expression, before anything runs."""
    try:
        _parse_expression(expression, f"{option} is no marker expression")
    except pytest.UsageError as error:
        raise InferbenchError(
            "IB-207", str(error), 'Write it as for -m: "trt and int8".'
        ) from error


def matching(expression: str, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that a marker expression names, those that cannot run included."""
    return [cell for cell in cells if _names(expression, cell.markers)]


def named_by(expression: str, markers: Collection[str], option: str) -> bool:
    """Whether a marker expression names what carries these markers.

    Args:
        expression: As for `-m`.
        markers: What it carries.
        option: Where the expression was given, for the error.

    Raises:
        InferbenchError: It is no expression (IB-207).
    """
    check_expression(expression, option)
    return _names(expression, markers)


def _names(expression: str, markers: Collection[str]) -> bool:
    def matches(name: str, /, **_: object) -> bool:
        return name in markers

    return Expression.compile(expression).evaluate(matches)


def unmet(expression: str, cells: Sequence[Cell], ledger: Ledger) -> str | None:
    """Return why the requirement does not hold, a line a cell, or None when it does."""
    matched = matching(expression, cells)
    if not matched:
        return f"[IB-201] it matches no cell of the matrix{_nearest(expression, cells)}"
    by_cell = ledger.by_cell()
    lines = [line for cell in matched if (line := _unmet_cell(cell, by_cell))]
    if not lines:
        return None
    head = f"[IB-202] {len(lines)} of {len(matched)} required cells reached no verdict:"
    return "\n  ".join([head, *lines])


def _unmet_cell(cell: Cell, by_cell: Mapping[str, list[Entry]]) -> str | None:
    if cell.cannot_run:
        return f"{cell}: cannot run here: {cell.cannot_run}"
    entries = by_cell.get(cell.id)
    if not entries:
        return f"{cell}: none of its tests ran: look at -m, -k and the paths given"
    silent = [entry for entry in entries if not entry.reached_verdict and entry.was_asked]
    if not silent and any(entry.reached_verdict for entry in entries):
        return None
    silent = silent or entries
    tests = "; ".join(f"{_test_name(entry.nodeid)}: {entry.reason}" for entry in silent)
    return f"{cell}: {tests}"


def _test_name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2].partition("[")[0]


def _nearest(expression: str, cells: Sequence[Cell]) -> str:
    known = {marker for cell in cells for marker in cell.markers}
    names = set(re.findall(r"[\w.+:/-]+", expression)) - {"and", "or", "not"} - known
    hints = [
        f"{name!r} is no marker (nearest: {match!r})"
        for name in sorted(names)
        if (match := nearest(name, known))
    ]
    return ": " + ", ".join(hints) if hints else ""
