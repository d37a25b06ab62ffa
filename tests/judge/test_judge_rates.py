"""More is better: what is said of rates is what is said of the times that they come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.rates import judge_rate_objective, judge_rate_stored
from pytest_inferbench.judge.runs import Run, StoredSessions
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS

RATES = st.floats(1e-2, 1e6)


def budget(text):
    made = parse_budget(METRICS["throughput"], text)
    assert made is not None
    return made


def stored(rate, sessions, runs=3):
    return StoredSessions([[Run(rate, 1.0)] * runs for _ in range(sessions)])


def judged(now, then, text="-5%", sessions=6, comparisons=1):
    return judge_rate_stored(
        budget(text),
        [Run(now, 1.0)] * 3,
        stored(then, sessions),
        hardware="nvidia-h200",
        comparisons=comparisons,
        same_speed=0.08,
    )


@given(RATES, st.floats(0.2, 0.6))
def test_far_fewer_is_regressed_and_far_more_is_improved(rate, share):
    fewer, more = judged(rate * share, rate), judged(rate / share, rate)
    assert (fewer.verdict, fewer.code) == (Verdict.REGRESSED, "IB-603")
    assert more.verdict is Verdict.IMPROVED


@given(RATES)
def test_as_many_pass(rate):
    assert judged(rate, rate).verdict is Verdict.PASS


@given(RATES, st.floats(0.1, 10), st.sampled_from(["-1%", "-5%", "-50%"]), st.integers(1, 8))
def test_the_figures_are_rates_and_the_interval_is_in_order(rate, factor, text, sessions):
    judgement = judged(rate * factor, rate, text, sessions)
    assert judgement.unit == "/s"
    assert judgement.budget == text
    assert judgement.value == pytest.approx(rate * factor)
    assert judgement.baseline == pytest.approx(rate)
    change = judgement.change
    assert change.low < change.value < change.high
    assert change.value == pytest.approx(factor - 1)
    assert -1 < judgement.smallest_visible < -budget(text).limit
    regressed = change.high < -budget(text).limit
    assert (judgement.verdict is Verdict.REGRESSED) == regressed


@given(st.floats(1, 1e5), st.floats(0.01, 0.5))
def test_an_objective_is_a_least(limit, gap):
    text = f"{limit} /s"
    above = judge_rate_objective(budget(text), [limit * (1 + gap)] * 3)
    below = judge_rate_objective(budget(text), [limit * (1 - gap)] * 3)
    assert (above.verdict, below.verdict) == (Verdict.PASS, Verdict.REGRESSED)
    assert below.code == "IB-602"
    assert below.value == pytest.approx(limit * (1 - gap))
    assert "by the time that one takes: between" in below.detail


def test_runs_about_the_objective_are_inconclusive():
    assert judge_rate_objective(budget("100 /s"), [90.0, 100.0, 111.0]).code == "IB-611"


def test_too_few_runs_and_no_baseline_say_so():
    few = judge_rate_stored(
        budget("-5%"), [], stored(1.0, 1), hardware="cpu-x", comparisons=1, same_speed=0.1
    )
    assert few.code == "IB-612"
    assert judged(10.0, 10.0, sessions=0).code == "IB-701"
