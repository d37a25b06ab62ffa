"""What every drawing has: a frame, axes, a text that says it, a table of its figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.html.scale import Scale, written

WIDTH = 360
"""Of a drawing, in its own units: small enough that a phone shows its text at full size."""


def figure(
    title: str,
    drawing: Markup,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    note: object = None,
) -> Markup:
    """Return a drawing under its title, with the numbers behind it as a table to unfold."""
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", each) for each in row[1:]))
        for row in rows
    ]
    head = tag("tr", *(tag("th", each, scope="col") for each in columns))
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="data")
    unfold = tag("details", tag("summary", "Figures"), tag("div", table, class_="scroll"))
    return tag(
        "figure",
        tag("figcaption", title),
        drawing,
        tag("p", note, class_="note") if note else None,
        unfold,
    )


def drawing(said: str, height: float, *parts: object, width: float = WIDTH) -> Markup:
    """Return an SVG that says in words what it shows."""
    viewbox = f"0 0 {width:g} {height:g}"
    return tag("svg", *parts, viewbox=viewbox, role="img", aria_label=said, class_="chart")


def label(x: float, y: float, content: object, kind: str = "", anchor: str | None = None) -> Markup:
    """Return text in a drawing."""
    return tag("text", content, x=float(x), y=float(y), class_=kind or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=kind)


def dot(x: float, y: float, kind: str, radius: float = 3.2) -> Markup:
    """Return a point."""
    return tag("circle", cx=float(x), cy=float(y), r=float(radius), class_=kind)


def below(scale: Scale, y: float, top: float, unit: str, most: int = 5) -> Markup:
    """Return a horizontal axis: faint lines up to `top`, numbers below `y`, the unit at its end."""
    ticks = scale.ticks(most)
    parts = [line(scale(at), top, scale(at), y, "grid") for at in ticks]
    texts = written(ticks)
    parts += [
        label(scale(at), y + 13, text, "tick", "middle")
        for at, text in zip(ticks, texts, strict=True)
    ]
    return join(*parts, label(scale.end, y + 26, unit, "unit", "end"))


def beside(scale: Scale, x: float, right: float, unit: str, most: int = 5) -> Markup:
    """Return a vertical axis: faint lines up to `right`, numbers left of `x`, the unit on top."""
    ticks = scale.ticks(most)
    parts = [line(x, scale(at), right, scale(at), "grid") for at in ticks]
    parts += [
        label(x - 6, scale(at) + 3.5, text, "tick", "end")
        for at, text in zip(ticks, written(ticks), strict=True)
    ]
    return join(*parts, label(0, scale.end - 8, unit, "unit"))
