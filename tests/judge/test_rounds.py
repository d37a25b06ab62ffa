"""Two sides judged from rounds: what is red, what passes, and what the message says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.rounds import (
    Compared,
    explanation,
    judge_slowdown,
    judge_speedup,
    log_ratio,
)
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.speedups import parse_speedups

P5 = parse_budget(METRICS["p5"], "+5%")


def compared(*changes, seconds=3.0):
    return Compared([math.log1p(c) for c in changes], 1.1, 1.0, seconds, "the old one")


def speedup_of(factor):
    faults = []
    written = {"trt-int8 / trt-fp32": factor}
    (found,) = parse_speedups(written, lambda *fault: faults.append(fault))
    assert faults == []
    return found.budget


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ([0.12, 0.11, 0.13] * 4, Verdict.REGRESSED, "IB-604"),
        ([0.01, 0.0, -0.01] * 4, Verdict.PASS, "IB-600"),
        ([-0.12, -0.11, -0.13] * 4, Verdict.IMPROVED, "IB-600"),
        ([0.04, 0.06] * 3, Verdict.INCONCLUSIVE, "IB-618"),
        ([0.12, 0.11], Verdict.INCONCLUSIVE, "IB-618"),
    ],
)
def test_slower_equal_faster_or_not_to_be_told(changes, verdict, code):
    judged = judge_slowdown(P5, compared(*changes), 1)
    assert (judged.verdict, judged.code) == (verdict, code)
    assert f"{len(changes)} rounds beside the old one in 3 s" in judged.detail


def test_few_rounds_say_how_many_are_needed_and_give_no_bounds():
    judged = judge_slowdown(P5, compared(0.12, 0.11), 1)
    assert judged.change is None
    assert "about +11.5%" in judged.detail
    assert "7 rounds are the least" in judged.detail
    assert "14 rounds are the least" in judge_slowdown(P5, compared(0.12), 100).detail


def test_a_pass_that_few_rounds_reach_has_its_upper_bound_and_excludes_nothing_below():
    judged = judge_slowdown(P5, compared(0.001, 0.0, -0.001, 0.0, 0.001), 1)
    assert judged.verdict is Verdict.PASS
    assert judged.change.low == -1.0
    assert judged.change.value < judged.change.high < 0.05
    assert judged.smallest_visible is None


def test_where_no_round_counts_nothing_is_said_but_why():
    throttled = ("the device was throttled by heat for 40% of the time",) * 3
    none = Compared([], math.nan, math.nan, 9.0, "the old one", throttled)
    for judged in (judge_slowdown(P5, none, 1), judge_speedup(speedup_of(2), none, 1)):
        assert (judged.verdict, judged.code) == (Verdict.INCONCLUSIVE, "IB-618")
        assert "set aside: 3 more, the first for the device was throttled" in judged.detail


def test_the_smallest_visible_change_would_have_been_red():
    changes = [0.01, 0.0, -0.01, 0.004] * 3
    judged = judge_slowdown(P5, compared(*changes), 1)
    missing = math.log1p(judged.smallest_visible) - math.log1p(judged.change.value)
    worse = [math.expm1(math.log1p(c) + missing + 1e-4) for c in changes]
    assert judge_slowdown(P5, compared(*worse), 1).verdict is Verdict.REGRESSED
    better = [math.expm1(math.log1p(c) + missing - 1e-3) for c in changes]
    assert judge_slowdown(P5, compared(*better), 1).verdict is Verdict.INCONCLUSIVE


def test_a_session_with_more_comparisons_needs_more_to_be_red():
    rounds = [0.12, 0.11, 0.13] * 3
    assert judge_slowdown(P5, compared(*rounds), 1).verdict is Verdict.REGRESSED
    assert judge_slowdown(P5, compared(*rounds), 1000).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [(1.5, Verdict.PASS, "IB-600"), (2.5, Verdict.REGRESSED, "IB-605")],
)
def test_as_many_times_as_fast_as_it_must_be(factor, verdict, code):
    half = [1 / 2.0 - 1, 1 / 2.01 - 1, 1 / 1.99 - 1] * 4
    judged = judge_speedup(speedup_of(factor), compared(*half), 1)
    assert (judged.verdict, judged.code) == (verdict, code)
    assert judged.value == pytest.approx(2.0, rel=0.01)
    assert "times as fast" in judged.detail


@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=14), st.floats(0.5, 2.0))
def test_a_speedup_is_never_both_reached_and_missed(changes, factor):
    judged = judge_speedup(speedup_of(factor), compared(*changes), 1)
    if judged.verdict is Verdict.PASS:
        assert judged.value > factor
    if judged.verdict is Verdict.REGRESSED:
        assert judged.value < factor


def burst(ms, count=40, jitter=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return (1e6 * ms * (1 + jitter * rng.random(count))).astype(np.int64)


@pytest.mark.parametrize("statistic", ["p5", "p50", "p90", "p99", "mean"])
def test_the_ratio_is_taken_between_neighbours(statistic):
    """The machine halves its speed in the middle, and that is no difference between the two."""
    bursts = [(burst(1), burst(1.1))] * 4 + [(burst(2), burst(2.2))] * 4
    assert math.exp(log_ratio(bursts, statistic)) == pytest.approx(1.1, rel=1e-6)


def test_high_percentiles_of_few_samples_are_taken_of_all_together():
    slow = burst(1, 30)
    slow[0] = 50_000_000  # one slow call in one burst of ten: no p99 of everything
    bursts = [(burst(1, 30), burst(1, 30))] * 9 + [(burst(1, 30), slow)]
    assert log_ratio(bursts, "p99") == pytest.approx(0.0, abs=1e-6)


def test_samples_of_no_time_at_all_are_no_division_by_zero():
    nothing = np.zeros(5, np.int64)
    assert log_ratio([(nothing, nothing)], "p50") == 0.0


def test_a_slower_median_over_the_same_floor_is_called_waiting():
    said = explanation("p50", {"p5": [0.001, -0.001] * 6, "p50": [0.2] * 12})
    assert "contention" in said
    assert explanation("p50", {"p5": [0.2] * 12, "p50": [0.2] * 12}) == ""
    assert "+22.1%" in explanation("p5", {"p5": [0.2] * 12, "p50": [0.2] * 12})
