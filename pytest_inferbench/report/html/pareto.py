"""Latency against accuracy of a model's cells, with the front: takes cells, gives figures. Pure.

What people choose a deployment by: no other cell is both faster and more accurate than one on the
front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.report.document import CellResult
from pytest_inferbench.report.html import frame, words
from pytest_inferbench.report.html.evidence import is_better_higher, score_of
from pytest_inferbench.report.html.frame import label
from pytest_inferbench.report.html.markup import Markup, join, number, tag
from pytest_inferbench.report.html.scale import Scale, scale_of, short
from pytest_inferbench.report.parts import FAILING
from pytest_inferbench.report.scores import SCORES

MOST_LABELS = 24
"""Points that are all named; of more only those on the front are."""


DIGITS = 6
"""Scores are as the table has them: what differs beyond its digits is the same."""

LEAST_SPAN = 1e-3
"""How much of a score the plot is high, at least: a hair's breadth must not look like a fall."""


@dataclass(frozen=True)
class Size:
    """How large a drawing is: one for a desk, one for a phone.

    Attributes:
        letter: The width of a letter, in the drawing's units.
        ticks: Numbers along each axis, at most.
    """

    width: float
    height: float
    left: float
    letter: float
    ticks: int
    name: str

    @property
    def right(self) -> float:
        """Where the plot ends."""
        return self.width - 20

    @property
    def bottom(self) -> float:
        """Where it stands."""
        return self.height - 44


TOP = 30
SIZES = (Size(720, 400, 58, 7.4, 7, "wide"), Size(360, 340, 48, 6.6, 4, "narrow"))


@dataclass(frozen=True)
class Point:
    """A cell on the plot.

    Attributes:
        fastest_ms: The least median of any run that counts; `slowest_ms` the largest.
        least: The least score that the interval of its loss allows; `most` the largest.
    """

    name: str
    latency_ms: float
    score: float
    hardware: str
    precision: str
    verdict: str
    anchor: str
    fastest_ms: float
    slowest_ms: float
    least: float
    most: float


def front(points: Sequence[Point], higher: bool) -> list[Point]:
    """Return the points that no other one beats in both, fastest first."""
    best, found = -math.inf, []
    sign = 1 if higher else -1
    for point in sorted(points, key=lambda p: (p.latency_ms, -sign * p.score)):
        if sign * point.score > best:
            best = sign * point.score
            found.append(point)
    return found


def points_of(cells: Sequence[CellResult], score: str, anchors: dict[int, str]) -> list[Point]:
    """Return the cells of one model that have both figures."""
    several = len({cell.hardware for cell in cells}) > 1
    found = []
    for cell in cells:
        latency = cell.figures.get("p50_ms", math.nan)
        value = round(cell.figures.get(score, math.nan), DIGITS)
        if math.isfinite(latency) and latency > 0 and math.isfinite(value):
            name = f"{cell.backend} {cell.precision}" + (f", {cell.hardware}" if several else "")
            told = [run.latency_ms.get("p50", math.nan) for run in cell.runs if run.counts]
            medians = [p50_ms for p50_ms in told if math.isfinite(p50_ms)]
            low, high = _bounds(cell, score, value)
            found.append(
                Point(
                    name=name,
                    latency_ms=latency,
                    score=value,
                    hardware=cell.hardware,
                    precision=cell.precision,
                    verdict=cell.verdict,
                    anchor=anchors[id(cell)],
                    fastest_ms=min([latency, *medians]),
                    slowest_ms=max([latency, *medians]),
                    least=low,
                    most=high,
                )
            )
    return found


def _bounds(cell: CellResult, score: str, value: float) -> tuple[float, float]:
    """Return the scores between which the interval of the loss leaves it."""
    lost = cell.intervals.get(f"{score}_drop") or cell.intervals.get(f"{score}_rise")
    if lost is None or not all(math.isfinite(v) for v in (lost.low, lost.value, lost.high)):
        return value, value
    sign = 1 if f"{score}_rise" in cell.figures else -1
    ends = (value + sign * (lost.low - lost.value), value + sign * (lost.high - lost.value))
    return min(ends), max(ends)


def plot(model: str, cells: Sequence[CellResult], anchors: dict[int, str]) -> Markup | None:
    """Return one model's plot.

    Returns:
        The figure, or None where fewer than two cells have a latency and a score.
    """
    timed = [cell for cell in cells if "p50_ms" in cell.figures]
    score = score_of(timed)
    points = points_of(timed, score, anchors)
    if len(points) < 2:
        return None
    higher = is_better_higher(score)
    best = front(points, higher)
    names = ", ".join(point.name for point in best)
    said = (
        f"{model}: {SCORES[score]} against the median latency of {len(points)} cells."
        f" On the front, fastest first: {names}."
    )
    rows = [
        (
            tag("a", point.name, href=f"#{point.anchor}"),
            short(point.latency_ms),
            f"{point.score:.4f}",
            "yes" if point in best else "",
            words.badge(point.verdict),
        )
        for point in sorted(points, key=lambda p: p.latency_ms)
    ]
    columns = ("cell", "p50 ms", SCORES[score], "on the front", "verdict")
    return frame.figure(
        model,
        join(*(_drawn(points, best, score, size, said) for size in SIZES)),
        columns,
        rows,
        f"On the front, fastest first: {names}. A cell that is not is better in neither than one"
        f" that is. {_meant(score, higher)} Bars: from the fastest to the slowest run, and what the"
        " interval of the loss allows; where they overlap, the order is not sure. A cell that"
        " failed or regressed may lie beyond the edge that it stands at.",
    )


def _drawn(
    points: Sequence[Point], best: Sequence[Point], score: str, size: Size, said: str
) -> Markup:
    higher = is_better_higher(score)
    values = [v for p in _sound(points) for v in (p.latency_ms, p.fastest_ms, p.slowest_ms)]
    logarithmic = max(values) > 8 * min(values)
    x = scale_of(values, size.left, size.right, logarithmic=logarithmic, room=0.08)
    low, high = (size.bottom, TOP) if higher else (TOP, size.bottom)
    scores = [v for p in _sound(points) for v in (p.score, p.least, p.most)]
    middle = (min(scores) + max(scores)) / 2
    around = (middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)
    y = scale_of(scores, low, high, include=around, room=0.08)
    parts = [
        frame.below(x, size.bottom, TOP, "p50, ms", size.ticks),
        frame.beside(y, size.left, size.right, "", 6),
        label(0, 14, SCORES[score], "unit"),
        _steps(best, x, y),
        *(_spread(point, x, y) for point in points),
    ]
    for point in points:
        parts.append(_mark(point, x(point.latency_ms), y(point.score), point in best))
    named = points if len(points) <= MOST_LABELS else best
    parts.append(_labels(named, points, x, y, best, size))
    drawn = frame.drawing(said, size.height, *parts, width=size.width)
    return tag("div", drawn, class_=size.name)


def _sound(points: Sequence[Point]) -> Sequence[Point]:
    """Return the points that the axes are made for: a broken one must not squeeze the others."""
    sound = [point for point in points if point.verdict not in FAILING]
    return sound if len(sound) > 1 else points


def _meant(score: str, higher: bool) -> str:
    return (
        f"Better is further left and further up ({'more' if higher else 'less'} {SCORES[score]})."
    )


def _steps(best: Sequence[Point], x: Scale, y: Scale) -> Markup:
    """Return the front as steps: how good one gets at most within a time."""
    path, last = [], None
    for point in best:
        at = (x(point.latency_ms), y(point.score))
        if last is not None:
            path.append(f"{number(at[0])},{number(last[1])}")
        path.append(f"{number(at[0])},{number(at[1])}")
        last = at
    if last is not None:
        path.append(f"{number(x.end)},{number(last[1])}")
    return tag("polyline", points=" ".join(path), class_="front")


def _spread(point: Point, x: Scale, y: Scale) -> Markup:
    """Return how far the runs' medians, and the interval of the score, reach."""
    at = (x(point.latency_ms), y(point.score))
    return join(
        frame.line(x(point.fastest_ms), at[1], x(point.slowest_ms), at[1], "spread"),
        frame.line(at[0], y(point.least), at[0], y(point.most), "spread"),
    )


def _mark(point: Point, x: float, y: float, on_front: bool) -> Markup:
    kind = "on" if on_front else "off"
    bad = " bad" if point.verdict in FAILING else ""
    shape = {
        "fp32": tag("circle", cx=x, cy=y, r=5.0),
        "int8": tag("path", d=_path(x, y, ((0, -6.5), (6, 4.5), (-6, 4.5)))),
        "fp16": tag("rect", x=x - 4.5, y=y - 4.5, width=9.0, height=9.0),
    }.get(point.precision, tag("path", d=_path(x, y, ((0, -6.5), (6.5, 0), (0, 6.5), (-6.5, 0)))))
    said = tag("title", f"{point.name}: {short(point.latency_ms)} ms, {point.score:.4f}")
    return tag("g", said, shape, class_=f"point {kind}{bad}")


def _path(x: float, y: float, corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(x + a)} {number(y + b)}" for a, b in corners) + "Z"


def _labels(
    named: Sequence[Point],
    points: Sequence[Point],
    x: Scale,
    y: Scale,
    best: Sequence[Point],
    size: Size,
) -> Markup:
    """Return names beside their points, where they cover neither another nor a point."""
    taken = [(x(p.latency_ms) - 7, y(p.score) - 7, 14.0, 14.0) for p in points]
    parts = []
    for point in sorted(named, key=lambda p: (p not in best, p.latency_ms)):
        px, py, sign = x(point.latency_ms), y(point.score), words.SIGNS.get(point.verdict, "")
        bad = point.verdict in FAILING
        text = f"{sign} {point.name}" if bad else point.name
        wide = size.letter * len(text)
        for dx, dy in (
            (10, 4),
            (10, -9),
            (10, 17),
            (-10 - wide, 4),
            (-wide / 2, -12),
            (-wide / 2, 20),
        ):
            box = (px + dx, py + dy - 11, wide, 14.0)
            inside = box[0] >= 2 and box[0] + wide < size.width and 0 < box[1] < size.bottom
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                kind = "on" if point in best else "off"
                parts.append(label(px + dx, py + dy, text, kind + (" bad" if bad else "")))
                break
    return join(*parts)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return (
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
    )
