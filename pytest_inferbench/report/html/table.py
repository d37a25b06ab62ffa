"""The table of cells: takes cells, gives a row each and the keys that rows are sorted by. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.report.document import CellResult, Results
from pytest_inferbench.report.html import words
from pytest_inferbench.report.html.charts import change_mark
from pytest_inferbench.report.html.evidence import (
    LOSSES,
    bar_of,
    is_better_higher,
    main_change,
    score_of,
)
from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.html.scale import short
from pytest_inferbench.report.messages import percent
from pytest_inferbench.report.scores import SCORES

Key = str | float | None


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: Its name for programs.
        title: Its name for people.
        number: Whether it holds numbers.
        descending: Whether the first click puts the largest on top.
    """

    key: str
    title: str
    number: bool = False
    descending: bool = False


_FIGURES = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "peak_mib": "MiB",
    "device_peak_mib": "device MiB",
    "watts": "W",
}


@dataclass(frozen=True)
class Shape:
    """Which columns a table has: those in which some cell has something."""

    columns: tuple[Column, ...]
    score: str
    sessions: tuple[str, ...]


def shape_of(results: Results) -> Shape:
    """Return the columns that some results need."""
    cells = results.cells
    columns = [Column("verdict", "verdict")]
    columns += [Column(key, key) for key in ("model", "backend", "precision")]
    if len({cell.hardware for cell in cells}) > 1:
        columns.append(Column("hardware", "hardware"))
    many = len(results.sessions) > 1
    if many:
        columns.append(Column("session", "session"))
    for name, title in _FIGURES.items():
        if any(name in cell.figures for cell in cells):
            columns.append(Column(name, title, number=True))
        if name == "p50_ms" and any(main_change(cell) for cell in cells):
            columns.append(Column("change", "change", number=True, descending=True))
        if name == "p99_ms" and any(cell.speedup is not None for cell in cells):
            columns.append(Column("speedup", "speed-up", number=True, descending=True))
    score = score_of(cells)
    if score:
        columns.append(Column("score", SCORES[score], True, is_better_higher(score)))
    if any(name in cell.figures for cell in cells for name in LOSSES):
        columns.append(Column("loss", "lost", number=True, descending=True))
    if score != "cosine" and any("cosine" in cell.figures for cell in cells):
        columns.append(Column("cosine", "cosine", number=True))
    return Shape(tuple(columns), score, session_names(results) if many else ())


def session_names(results: Results) -> tuple[str, ...]:
    """Return what to call each session, so that no two have one name."""
    names = [session.name or session.recorded for session in results.sessions]
    return tuple(
        name if names.count(name) == 1 else f"{name} #{i + 1}" for i, name in enumerate(names)
    )


def keys(cell: CellResult, shape: Shape) -> list[Key]:
    """Return what a cell is sorted by, a value a column; None where it has none."""
    return [_key(cell, column.key, shape) for column in shape.columns]


def row(cell: CellResult, shape: Shape, anchor: str) -> Markup:
    """Return a cell's row."""
    fields = [_field(cell, column, shape, anchor) for column in shape.columns]
    return tag("tr", *fields, role="row")


def header(shape: Shape) -> Markup:
    """Return the head of the table; a script makes buttons of its names."""
    columns = [
        tag(
            "th",
            column.title,
            scope="col",
            role="columnheader",
            class_="num" if column.number else None,
            data_down=column.descending,
        )
        for column in shape.columns
    ]
    return tag("thead", tag("tr", *columns, role="row"), role="rowgroup")


def _key(cell: CellResult, name: str, shape: Shape) -> Key:
    if name == "verdict":
        return words.rank(cell.verdict)
    if name == "session":
        return cell.session
    if name in ("model", "backend", "precision", "hardware"):
        return str(getattr(cell, name))
    return _value(cell, name, shape)


def _value(cell: CellResult, name: str, shape: Shape) -> float | None:
    value: float | None
    if name == "change":
        judged = main_change(cell)
        value = judged.change.value if judged and judged.change else None
    elif name == "speedup":
        value = cell.speedup
    elif name == "score":
        value = cell.figures.get(shape.score)
    elif name == "loss":
        value = next((cell.figures[each] for each in LOSSES if each in cell.figures), None)
    else:
        value = cell.figures.get(name)
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _field(cell: CellResult, column: Column, shape: Shape, anchor: str) -> Markup:
    name = column.key
    if name == "verdict":
        codes = tag("small", " ".join(cell.codes)) if cell.codes else None
        content: object = join(tag("a", words.badge(cell.verdict), href=f"#{anchor}"), codes)
    elif name == "session":
        content = shape.sessions[cell.session]
    elif name == "change":
        content = _change(cell)
    elif column.number:
        content = _number(_value(cell, name, shape), name, shape.score)
    else:
        content = getattr(cell, name)
    kind = f"f-{name.replace('_', '-')}" + (" num" if column.number else "")
    title = column.title if name not in ("verdict", "model") else None
    return tag("td", content, role="cell", class_=kind, data_label=title if content else None)


def _change(cell: CellResult) -> object:
    judged = main_change(cell)
    if judged is None or judged.change is None or not math.isfinite(judged.change.value):
        return ""
    mark = change_mark(bar_of(judged, judged.change), words.statement(judged))
    text = tag("span", f"{judged.metric} {percent(judged.change.value)}", aria_hidden="true")
    return join(mark, text)


def _number(value: float | None, name: str, score: str) -> str:
    if value is None:
        return ""
    if name == "cosine" or (name == "score" and score == "cosine"):
        return f"{value:.6f}"
    if name in ("score", "loss"):
        return f"{value:.4f}"
    if name == "speedup":
        return f"{value:.2f}x"
    return f"{value:.0f}" if name.endswith("mib") else short(value)


def sorted_worst_first(cells: Sequence[CellResult]) -> list[CellResult]:
    """Return cells in the order in which they are told: what is wrong comes first."""
    return sorted(cells, key=lambda cell: words.rank(cell.verdict))
