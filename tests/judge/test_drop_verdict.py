"""When a lost score is a regression, and when it is the luck of the samples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.verdict import (
    Verdict,
    judge_absolute,
    judge_drop,
    samples_to_tell,
)
from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS

BUDGET = parse_budget(METRICS["map_drop"], 0.02)
shares = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("drop", "low", "verdict"),
    [
        (0.02, -0.5, Verdict.PASS),
        (-0.3, -0.5, Verdict.PASS),
        (0.0201, 0.0001, Verdict.REGRESSED),
        (0.5, 0.4, Verdict.REGRESSED),
        (0.0201, 0.0, Verdict.INCONCLUSIVE),
        (0.5, -0.1, Verdict.INCONCLUSIVE),
        (math.nan, -0.1, Verdict.REGRESSED),
        (0.5, math.nan, Verdict.REGRESSED),
        (math.inf, -0.1, Verdict.REGRESSED),
    ],
)
def test_a_loss_is_a_regression_where_it_is_one_at_all(drop, low, verdict):
    judgement = judge_drop(BUDGET, drop, low, "why")
    assert judgement.verdict is verdict
    assert judgement.detail == "why"
    assert (judgement.code == "IB-460") == (verdict is Verdict.INCONCLUSIVE)


@given(drop=shares, low=shares)
def test_luck_takes_back_a_regression_and_never_makes_one(drop, low):
    plain, asked = judge_absolute(BUDGET, drop).verdict, judge_drop(BUDGET, drop, low).verdict
    assert asked is plain or (plain, asked) == (Verdict.REGRESSED, Verdict.INCONCLUSIVE)


@given(drop=st.floats(0.001, 1), half=st.floats(0.0001, 3), samples=st.integers(2, 5000))
def test_so_many_samples_shrink_the_interval_to_the_drop(drop, half, samples):
    needed = samples_to_tell(samples, drop, drop - half)
    assert half * math.sqrt(samples / needed) <= drop * (1 + 1e-9)
