"""Drawings: everything inside the frame, in its place, and said in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_inferbench.report.html import charts, pareto, scale
from pytest_inferbench.report.html.charts import Bar, Curve, Row
from pytest_inferbench.report.html.evidence import limit_of, relative_limit
from pytest_inferbench.report.html.markup import escaped, tag
from pytest_inferbench.report.parts import JudgementResult

FINITE = st.floats(-1e12, 1e12)


def coordinates(text):
    return [float(v) for v in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"', text)]


@given(st.lists(FINITE, min_size=1, max_size=9), st.booleans())
def test_a_scale_keeps_order_and_ends(values, logarithmic):
    made = scale.scale_of(values, 10, 200, logarithmic=logarithmic)
    shown = [v for v in values if v > 0 or not logarithmic]
    at = [made(v) for v in sorted(shown)]
    assert at == sorted(at)
    assert all(10 <= each <= 200 for each in at)


@given(FINITE, st.floats(1e-6, 1e9), st.integers(2, 8))
def test_ticks_lie_between_the_ends_and_differ(low, span, most):
    assume(low + span > low)
    ticks = scale.round_ticks(low, low + span, most)
    assert 0 < len(ticks) <= max(most, 2)
    assert all(low - span * 1e-6 <= t <= low + span * (1 + 1e-6) for t in ticks)


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([0.0, 5.0], ["0", "5"]),
        ([0.5, 1.0], ["0.5", "1.0"]),
        ([-0.25, 0.0], ["-0.25", "0.00"]),
        ([10000.0, 20000.0], ["10\u2009000", "20\u2009000"]),
    ],
)
def test_ticks_have_as_many_digits_as_tell_them_apart(ticks, texts):
    assert scale.written(ticks) == texts


@given(
    st.lists(st.lists(st.floats(), max_size=5), min_size=1, max_size=6), st.floats(), st.floats()
)
def test_runs_stay_inside_their_frame(rows, baseline, limit):
    made = charts.strip(
        "p5",
        [Row(f"s{i}", tuple(vs), now=i == 0) for i, vs in enumerate(rows)],
        "ms",
        baseline,
        limit,
    )
    if made is not None:
        assert all(-1 <= each <= 400 for each in coordinates(made))


def test_every_run_is_drawn_and_said():
    rows = [Row("this session", (3.0, 3.1), (9.0,), now=True), Row("Nov 21", (2.0, 2.2))]
    made = charts.strip("Latency", rows, "ms", 2.1, 2.31, "+10%")
    assert made.count('class="now"') == 2
    assert made.count('class="was"') == 2
    assert made.count('class="aside"') == 1
    assert "this session: 3.05 ms; Nov 21: 2.1 ms; baseline 2.1; limit 2.31." in made
    assert "limit +10%" in made


def test_curves_name_their_lines_apart():
    lines = [Curve(f"p{i}", ((1, 5 + i / 100), (8, 5 + i / 100))) for i in (50, 95, 99)]
    made = charts.curves("Latency", lines, "clients", "ms", doubling=True)
    names = [float(y) for y in re.findall(r'y="([\d.]+)" class="name', made)]
    assert len(names) == 3
    assert min(abs(a - b) for i, a in enumerate(names) for b in names[:i]) >= 11


@given(st.floats(), st.floats(), st.floats(), st.none() | st.floats())
def test_a_mark_stays_inside_its_field(low, value, high, limit):
    assume(value == value)
    made = charts.change_mark(Bar("p5", low, value, high, limit), "said")
    assert all(0 <= each <= 96 for each in coordinates(made))


POINTS = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=12)


@given(POINTS, st.booleans())
def test_no_point_beats_one_on_the_front(pairs, higher):
    points = [
        pareto.Point(str(i), ms, score, "hw", "fp32", "pass", "c0", ms, ms, score, score)
        for i, (ms, score) in enumerate(pairs)
    ]
    best = pareto.front(points, higher)
    sign = 1 if higher else -1

    def beats(a, b):
        better = a.latency_ms <= b.latency_ms and sign * a.score >= sign * b.score
        return better and (a.latency_ms, a.score) != (b.latency_ms, b.score)

    for point in points:
        beaten = any(beats(other, point) for other in points)
        twin = any((b.latency_ms, b.score) == (point.latency_ms, point.score) for b in best)
        assert twin is not beaten


@pytest.mark.parametrize(
    ("budget", "unit", "relative", "limit"),
    [
        ("+10%", "ms", 0.1, 2.2),
        ("-5%", "/s", -0.05, 1.9),
        ("30 ms", "ms", None, 30.0),
        ("1 s", "ms", None, 1000.0),
        ("0.99", "ratio", None, 0.99),
        ("whatever", "ms", None, None),
        ("", "", None, None),
    ],
)
def test_budgets_are_read_as_they_are_written(budget, unit, relative, limit):
    judged = JudgementResult(
        metric="p5", verdict="pass", code="IB-600", value=1, unit=unit, budget=budget, baseline=2.0
    )
    assert relative_limit(judged) == relative
    assert limit_of(judged) == (pytest.approx(limit) if limit is not None else None)


@given(st.text())
def test_text_is_never_markup(text):
    made = escaped(text)
    assert not set("<>\"'") & set(made)
    assert tag("p", text) == f"<p>{made}</p>"


def test_scores_that_are_told_alike_stand_alike(drawn):
    def heights(*scores):
        cells = [
            replace(cell, precision="fp32", figures={"p50_ms": 2.0 + i, "cosine": score})
            for i, (cell, score) in enumerate(zip(drawn(6).cells[2:], scores, strict=False))
        ]
        text = pareto.plot("net", cells, {id(cell): f"c{i}" for i, cell in enumerate(cells)})
        wide = text[: text.index('class="narrow"')]
        front = re.search(r"On the front, fastest first: (.*?)\.", text)[1]
        return [float(y) for y in re.findall(r'<circle[^>]* cy="([\d.]+)"', wide)], front

    (first, second), front = heights(1.0 - 1e-13, 1.0)
    assert first == second, "rounding is no accuracy"
    assert front.count("fp32") == 1, "nor does it put a slower cell on the front"
    (first, second), _ = heights(1.0, 0.99999)
    assert 0 < second - first < 10, "a hair's breadth looks like one"
    (first, second), _ = heights(1.0, 0.9)
    assert second - first > 200
