"""What a user reads of a verdict: the cell, by how much, with which interval, what to do."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pytest_inferbench.baselines.differences import differences
from pytest_inferbench.judge.runs import Run, StoredSessions, judge_stored
from pytest_inferbench.judge.statistics import Interval
from pytest_inferbench.judge.verdict import Judgement, Verdict
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.messages import counted, failure, figure, percent, skip, statement
from pytest_inferbench.settings.budgets import Budget

CELL = Cell("net", "ort-cpu", "int8", "cpu-test-2c")
P5 = Budget("p5", "relative", 0.05, "lower", "ms", "+5%", "default")
SLOWER = Judgement(
    "p5",
    Verdict.REGRESSED,
    "IB-603",
    4.617,
    "ms",
    "+5%",
    baseline=2.879,
    change=Interval(0.274, 0.604, 0.844),
    smallest_visible=0.31,
    detail="5 runs against 1 recorded session (here/net.json); with its default spread",
)
FINE = Judgement("p50", Verdict.PASS, "IB-600", 4.9, "ms", "+15%")


def test_a_failure_says_everything_in_short_lines():
    shown = failure(CELL, [SLOWER, FINE], {"what to do": "find the cause"})
    assert shown.splitlines() == [
        "net on ort-cpu at int8 (cpu-test-2c): p5 regressed",
        "  [IB-603] p5 regressed: 4.617 ms against 2.879 ms,"
        " +60.4% (between +27.4% and +84.4%), budget +5%",
        "    5 runs against 1 recorded session (here/net.json)",
        "    with its default spread",
        "  beside it: p50 4.9 ms (pass)",
        "  what to do: find the cause",
    ]


def test_what_differs_is_said_before_the_slowdown():
    differs = differences(
        {"cpu_governor": "performance", "onnxruntime": "1.31.1"},
        {"cpu_governor": "powersave", "onnxruntime": "1.32.0", "option threads": "1"},
        ("a" * 64, "a" * 64),
    )
    shown = failure(CELL, [SLOWER], {"what to do": "find the cause"}, differs).splitlines()
    assert shown[:5] == [
        "net on ort-cpu at int8 (cpu-test-2c): the machine, packages and options differ;"
        " p5 regressed",
        "  machine differs: cpu_governor performance -> powersave",
        "  packages differ: onnxruntime 1.31.1 -> 1.32.0",
        "  options differ: threads absent -> 1",
        "  [IB-603] p5 regressed: 4.617 ms against 2.879 ms,"
        " +60.4% (between +27.4% and +84.4%), budget +5%",
    ]
    assert shown[-1] == "  what to do: find the cause"


def test_that_nothing_differs_is_said_as_well():
    shown = failure(CELL, [SLOWER], {}, ()).splitlines()
    assert shown[0] == "net on ort-cpu at int8 (cpu-test-2c): p5 regressed"
    assert shown[1] == "  nothing recorded differs from the baseline's last session"


def test_every_metric_that_regressed_is_in_the_first_line():
    p50 = dataclasses.replace(SLOWER, metric="p50")
    first = failure(CELL, [SLOWER, p50, SLOWER], {}).splitlines()[0]
    assert first.endswith(": p5 and p50 regressed")


def test_outputs_with_faults_have_no_figure_and_say_which():
    fault = Judgement(
        "outputs", Verdict.REGRESSED, "IB-501", math.nan, "", "", detail="y of sample 3: zero"
    )
    shown = failure(CELL, [fault], {})
    assert "nan" not in shown
    assert "[IB-501] outputs regressed\n    y of sample 3: zero" in shown


def test_a_skip_is_one_line_and_says_shared_details_once():
    missing = [
        Judgement(m, Verdict.MISSING, "IB-701", 1.5, "ms", "+5%", detail="no baseline yet: record")
        for m in ("p5", "p50")
    ]
    assert skip(CELL, [*missing, FINE]) == (
        "net on ort-cpu at int8 (cpu-test-2c): [IB-701] p5 missing: 1.5 ms, budget +5%;"
        " [IB-701] p50 missing: 1.5 ms, budget +5%; no baseline yet: record"
    )


def test_what_is_inconclusive_says_what_would_be_visible():
    unsure = dataclasses.replace(SLOWER, verdict=Verdict.INCONCLUSIVE, code="IB-610")
    assert statement(unsure).endswith("budget +5%, visible from +31.0%")
    assert "visible" not in statement(SLOWER)


@pytest.mark.parametrize(("sessions", "advice"), [(1, "after 4 more recorded"), (5, "quieter")])
def test_what_is_inconclusive_says_what_would_decide(sessions, advice):
    stored = StoredSessions([[Run(1.0, 0.5)] * 3] * sessions, label="x")
    runs = [Run(1.04, 0.5)] * 3
    found = judge_stored(P5, runs, stored, hardware="cpu-a", comparisons=1, same_speed=0.08)
    assert found.code == "IB-610"
    assert advice in skip(CELL, [found])


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (4.6171, "ms", "4.617 ms"),
        (12345.6, "ms", "12346 ms"),
        (0.99951234, "ratio", "0.999512"),
        (0.25, "value", "0.25"),
        (math.nan, "ms", "no figure"),
        (-math.inf, "dB", "-inf"),
    ],
)
def test_figures_read_well(value, unit, shown):
    assert figure(value, unit) == shown


def test_percentages_and_counts_read_well():
    assert [percent(x) for x in (0.0512, -0.3, 36.7419)] == ["+5.1%", "-30.0%", "+3674%"]
    assert (counted(1, "run"), counted(2, "run"), counted(0, "run")) == (
        "1 run",
        "2 runs",
        "0 runs",
    )
