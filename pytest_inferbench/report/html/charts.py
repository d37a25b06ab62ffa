"""The drawings of a cell: takes numbers, gives figures. Pure.

`strip` shows runs beside those of recorded sessions, `curves` one quantity against another,
`intervals` changes with their bounds, and `change_mark` the smallest of these, for a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.report.html import frame
from pytest_inferbench.report.html.frame import WIDTH, dot, label, line
from pytest_inferbench.report.html.markup import Markup, join, number, tag
from pytest_inferbench.report.html.scale import Scale, scale_of, short

_ROW = 20
_GUTTER = 96


@dataclass(frozen=True)
class Row:
    """The runs of one session.

    Attributes:
        values: Those that count; `aside` those that do not.
        now: Whether it is this session, and no recorded one.
    """

    label: str
    values: tuple[float, ...]
    aside: tuple[float, ...] = ()
    now: bool = False


@dataclass(frozen=True)
class Bar:
    """A value with its bounds, and the limit that it must keep."""

    label: str
    low: float
    value: float
    high: float
    limit: float | None = None
    kind: str = "now"


@dataclass(frozen=True)
class Curve:
    """One line of a drawing: points from left to right."""

    label: str
    points: tuple[tuple[float, float], ...]


def strip(
    title: str,
    rows: Sequence[Row],
    unit: str,
    baseline: float | None = None,
    limit: float | None = None,
    budget: str = "",
    note: str = "",
) -> Markup | None:
    """Return every run as a point, a row a session, with the baseline and the limit.

    Returns:
        The figure, or None where no row has a number.
    """
    rows = [_finite(row) for row in rows]
    every = [v for row in rows for v in (*row.values, *row.aside)]
    if not every:
        return None
    marks = [v for v in (baseline, limit) if v is not None and math.isfinite(v)]
    scale = scale_of(every, _GUTTER, WIDTH - 12, include=marks)
    top, bottom = 20, 20 + _ROW * len(rows)
    parts: list[Markup] = [frame.below(scale, bottom, top, unit, 4)]
    if baseline is not None and math.isfinite(baseline):
        parts.append(line(scale(baseline), top, scale(baseline), bottom, "base"))
    if limit is not None and math.isfinite(limit):
        right = scale(limit) > WIDTH * 0.7
        parts.append(line(scale(limit), top - 4, scale(limit), bottom, "limit"))
        parts.append(
            label(scale(limit), 11, f"limit {budget}".strip(), "limit", "end" if right else "start")
        )
    for i, row in enumerate(rows):
        parts.append(_strip_row(row, scale, top + _ROW * i + _ROW / 2))
    table = [
        (row.label, short(_median(row.values)), "  ".join(map(short, row.values)), len(row.aside))
        for row in rows
    ]
    return frame.figure(
        title,
        frame.drawing(_strip_words(title, rows, unit, baseline, limit), bottom + 28, *parts),
        ("session", f"median, {unit}", f"runs, {unit}", "set aside"),
        table,
        note,
    )


def curves(
    title: str, series: Sequence[Curve], across: str, upwards: str, *, doubling: bool = False
) -> Markup | None:
    """Return lines of one quantity against another.

    Args:
        title: What is shown.
        series: The lines, each named at its end.
        across: The unit from left to right.
        upwards: The unit from below.
        doubling: Whether steps to the right are ratios, as of batch sizes.
    """
    series = [
        Curve(each.label, tuple(p for p in each.points if all(map(math.isfinite, p))))
        for each in series
    ]
    series = [each for each in series if each.points]
    if not series:
        return None
    named = len(series) > 1
    xs = sorted({x for each in series for x, _ in each.points})
    x = scale_of(xs, 44, WIDTH - (64 if named else 14), logarithmic=doubling and xs[0] > 0)
    y = scale_of((p[1] for each in series for p in each.points), 152, 26, include=(0.0,))
    y = Scale(max(0.0, y.low), y.high, y.start, y.end)
    parts = [frame.beside(y, 44, x.end, upwards, 4), _steps(xs, x, across)]
    ends: list[float] = []
    for i, each in enumerate(series):
        at = [(x(a), y(b)) for a, b in each.points]
        path = " ".join(f"{number(a)},{number(b)}" for a, b in at)
        parts.append(tag("polyline", points=path, class_=f"curve c{i % 4}"))
        if len(at) <= 24:
            parts += [dot(a, b, f"c{i % 4}", 2.6) for a, b in at]
        if named:
            ends.append(_free(at[-1][1] + 3.5, ends))
            parts.append(label(x.end + 7, ends[-1], each.label, f"name c{i % 4}"))
    told = {each.label: dict(each.points) for each in series}
    shown = xs if len(xs) <= 60 else xs[:: math.ceil(len(xs) / 60)]
    table = [
        (short(at), *(short(told[each.label].get(at, math.nan)) for each in series)) for at in shown
    ]
    words = "; ".join(
        f"{each.label or upwards}: {short(each.points[0][1])} to {short(each.points[-1][1])}"
        for each in series
    )
    return frame.figure(
        title,
        frame.drawing(f"{title}, in {upwards} by {across}. {words}.", 184, *parts),
        (across, *(f"{each.label} {upwards}".strip() for each in series)),
        table,
    )


def intervals(title: str, bars: Sequence[Bar], unit: str, note: str = "") -> Markup | None:
    """Return values with their bounds on one axis, a row each, with the limit of each."""
    bars = [bar for bar in bars if math.isfinite(bar.value)]
    if not bars:
        return None
    values = [v for bar in bars for v in (bar.low, bar.value, bar.high)]
    marks = [bar.limit for bar in bars if bar.limit is not None]
    scale = scale_of(values, _GUTTER, WIDTH - 14, include=(0.0, *marks))
    top, bottom = 8, 8 + 24 * len(bars)
    parts = [
        frame.below(scale, bottom, top, unit, 4),
        line(scale(0), top, scale(0), bottom, "base"),
    ]
    for i, bar in enumerate(bars):
        y = top + 24 * i + 12
        parts.append(label(0, y + 4, _cut(bar.label), "name"))
        parts.append(_whisker(bar, scale, y, 7))
    table = [
        (b.label, short(b.value), short(b.low), short(b.high), _or_none(b.limit)) for b in bars
    ]
    words = "; ".join(
        f"{b.label} {short(b.value)}, between {short(b.low)} and {short(b.high)}"
        + (f", limit {short(b.limit)}" if b.limit is not None else "")
        for b in bars
    )
    return frame.figure(
        title,
        frame.drawing(f"{title}, in {unit}: {words}.", bottom + 28, *parts),
        ("", unit, "from", "to", "limit"),
        table,
        note,
    )


def change_mark(bar: Bar, said: str) -> Markup:
    """Return a change beside no change and its limit, for a row of a table.

    All have one scale, so that they can be compared; what is beyond it stands at its end.
    """
    scale = Scale(-0.5, 0.5, 3, 93)
    return tag(
        "svg",
        line(scale(0), 1, scale(0), 15, "base"),
        _whisker(bar, scale, 8, 5),
        viewbox="0 0 96 16",
        role="img",
        aria_label=said,
        class_="mark",
    )


def _whisker(bar: Bar, scale: Scale, y: float, tall: float) -> Markup:
    parts = []
    if bar.limit is not None and math.isfinite(bar.limit):
        parts.append(line(scale(bar.limit), y - tall, scale(bar.limit), y + tall, "limit"))
    if math.isfinite(bar.low) or math.isfinite(bar.high):
        low = scale(bar.low) if not math.isnan(bar.low) else scale(bar.value)
        high = scale(bar.high) if not math.isnan(bar.high) else scale(bar.value)
        parts.append(line(low, y, high, y, f"range {bar.kind}"))
    return join(*parts, dot(scale(bar.value), y, bar.kind, 3.4))


def _strip_row(row: Row, scale: Scale, y: float) -> Markup:
    kind = "now" if row.now else "was"
    parts: list[Markup] = [label(0, y + 4, _cut(row.label), "name" if row.now else "tick")]
    parts += [dot(scale(value), y, "aside", 2.8) for value in row.aside]
    parts += [dot(scale(value), y, kind) for value in row.values]
    if row.values:
        middle = scale(_median(row.values))
        parts.append(line(middle, y - 7, middle, y + 7, f"median {kind}"))
    return join(*parts)


def _strip_words(
    title: str, rows: Sequence[Row], unit: str, baseline: float | None, limit: float | None
) -> str:
    words = [f"{r.label}: {short(_median(r.values))} {unit}" for r in rows[:3] if r.values]
    if len(rows) > 3:
        words.append(f"{len(rows) - 3} more sessions")
    if baseline is not None:
        words.append(f"baseline {short(baseline)}")
    if limit is not None:
        words.append(f"limit {short(limit)}")
    return f"{title}, a point a run. Medians: {'; '.join(words)}."


def _steps(xs: Sequence[float], scale: Scale, unit: str) -> Markup:
    """Return an axis that names the values themselves, as far as there is room for them."""
    if len(xs) > 8:
        return frame.below(scale, 152, 152, unit)
    parts = [label(scale(at), 165, f"{at:g}", "tick", "middle") for at in xs]
    return join(*parts, label(scale.end, 179, unit, "unit", "end"))


def _free(y: float, taken: Sequence[float]) -> float:
    """Return a place for a name that covers no other: the nearest one, up or down."""
    for step in range(12):
        for at in (y + 12 * step / 2, y - 12 * step / 2):
            if all(abs(at - other) >= 11.5 for other in taken) and 8 <= at <= 176:
                return at
    return y


def _finite(row: Row) -> Row:
    values, aside = (tuple(v for v in vs if math.isfinite(v)) for vs in (row.values, row.aside))
    return Row(row.label, values, aside, row.now)


def _median(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _cut(text: str) -> str:
    return text if len(text) <= 15 else text[:14] + "…"


def _or_none(value: float | None) -> str:
    return "" if value is None else short(value)
