"""The matrix of verdicts: takes cells, gives a table a hardware, models by backend and precision.

Pure. Each field is a link to its cell; where several sessions have one cell, the worst speaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_inferbench.report.document import CellResult
from pytest_inferbench.report.html import words
from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.messages import counted
from pytest_inferbench.report.parts import FAILING

MOST_OPEN = 6
"""Tables that are unfolded however their cells ended."""

_PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")


def matrix(cells: Sequence[CellResult], anchors: Mapping[int, str]) -> Markup:
    """Return the tables.

    Args:
        cells: All of them.
        anchors: `id()` of a cell -> the name of the place where it is told.
    """
    by_hardware: dict[str, list[CellResult]] = {}
    for cell in cells:
        by_hardware.setdefault(cell.hardware, []).append(cell)
    few = len(by_hardware) <= MOST_OPEN
    tables = []
    for hardware, own in by_hardware.items():
        counts = words.counts(own)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        bad = any(verdict in counts for verdict in FAILING)
        summary = tag("summary", tag("h3", hardware), " ", tag("span", told, class_="quiet"))
        table = tag("div", _table(own, anchors), class_="scroll", tabindex="0")
        tables.append(tag("details", summary, table, open=few or bad, class_="hardware"))
    return join(*tables)


def _table(cells: Sequence[CellResult], anchors: Mapping[int, str]) -> Markup:
    columns = sorted(
        {(cell.backend, cell.precision) for cell in cells},
        key=lambda pair: (pair[0], _place(pair[1]), pair[1]),
    )
    backends = list(dict.fromkeys(backend for backend, _ in columns))
    fields: dict[tuple[str, str, str], list[CellResult]] = {}
    for cell in cells:
        fields.setdefault((cell.model, cell.backend, cell.precision), []).append(cell)
    top = [tag("th", "model", scope="col", rowspan="2")]
    for backend in backends:
        width = sum(each == backend for each, _ in columns)
        top.append(tag("th", backend, scope="colgroup", colspan=str(width), class_="first"))
    under = []
    for i, (backend, precision) in enumerate(columns):
        first = i == 0 or columns[i - 1][0] != backend
        under.append(tag("th", precision, scope="col", class_="first" if first else None))
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own = [
            _field(
                fields.get((model, *column), []), anchors, i == 0 or columns[i - 1][0] != column[0]
            )
            for i, column in enumerate(columns)
        ]
        rows.append(tag("tr", tag("th", model, scope="row"), *own))
    head = tag("thead", tag("tr", *top), tag("tr", *under))
    return tag("table", head, tag("tbody", *rows), class_="matrix")


def _field(cells: Sequence[CellResult], anchors: Mapping[int, str], first: bool) -> Markup:
    edge = " first" if first else ""
    if not cells:
        return tag("td", "·", class_=f"none{edge}")
    worst = min(cells, key=lambda cell: words.rank(cell.verdict))
    judged = [j for j in worst.judgements if j.verdict == "regressed"]
    why = ", ".join(dict.fromkeys(j.metric for j in judged))
    many = tag("small", counted(len(cells), "session")) if len(cells) > 1 else None
    # The sign is the style sheet's, one element less a field: there may be thousands.
    link = tag(
        "a",
        worst.verdict or "no verdict",
        tag("small", why) if why else None,
        many,
        href=f"#{anchors[id(worst)]}",
    )
    return tag("td", link, class_=f"{words.kind(worst.verdict)}{edge}")


def _place(precision: str) -> int:
    return _PRECISIONS.index(precision) if precision in _PRECISIONS else len(_PRECISIONS)
