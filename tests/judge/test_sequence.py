"""The confidence sequence: its bounds are bounds, and at every look at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.sequence import (
    bounds,
    centre,
    evidence,
    fewest_rounds,
    lower_bound,
)

LOGS = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12)


@given(LOGS, st.floats(-0.6, 0.6), st.floats(0, 0.5))
def test_there_is_less_evidence_against_a_larger_ratio(logs, theta, more):
    assert evidence(logs, theta + more) <= evidence(logs, theta) + 1e-9


@given(LOGS, st.floats(0.001, 0.3))
def test_the_bound_is_where_the_evidence_is_just_enough(logs, alpha):
    low = lower_bound(logs, alpha)
    if math.isinf(low):
        assert evidence(logs, min(logs) - 5) < -math.log(alpha) + 1e-9
    else:
        assert evidence(logs, low - 1e-3) >= -math.log(alpha) - 1e-9
        assert evidence(logs, low + 1e-3) < -math.log(alpha) + 1e-9
        assert low <= max(logs)


@given(LOGS, st.floats(-0.3, 0.3))
def test_a_shift_shifts_everything_and_a_mirror_mirrors_it(logs, shift):
    here, there = bounds(logs, 0.01, 0.05), bounds([x + shift for x in logs], 0.01, 0.05)
    for one, other in ((here.low, there.low), (here.high, there.high), (here.value, there.value)):
        assert other == one or other - one == pytest.approx(shift, abs=1e-5)
    mirrored = bounds([-x for x in logs], 0.05, 0.01)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((here.low, here.high), abs=1e-5)


@given(LOGS)
def test_the_estimate_lies_within_its_bounds(logs):
    found = bounds(logs, 0.05, 0.05)
    assert found.low <= found.value + 1e-6
    assert found.value <= found.high + 1e-6
    assert min(logs) <= centre(logs) <= max(logs)


def test_nothing_is_decided_in_fewer_rounds_than_can_decide():
    for alpha in (0.05, 0.01, 0.01 / 36):
        few = [0.5] * (fewest_rounds(alpha) - 1)
        assert lower_bound(few, alpha) == -math.inf
        assert lower_bound([0.5] * (fewest_rounds(alpha) + 2), alpha) > 0.4


def test_one_outlier_accuses_nobody():
    steady = [0.001, -0.002, 0.0, 0.001, -0.001, 0.002, -0.001, 0.0]
    assert lower_bound([*steady, 3.0], 0.01) < 0.01
    assert lower_bound(steady, 0.05) > -0.05


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("spread", [0.005, 0.02, 0.1])
def test_looking_after_every_round_is_wrong_no_more_often_than_promised(spread, heavy):
    """A build that is slower by exactly the limit, looked at 30 times, in 400 sessions."""
    rng = np.random.default_rng(7)
    draw = (lambda n: rng.standard_t(2, n)) if heavy else rng.standard_normal
    limit, alpha = math.log(1.05), 0.05
    red = 0
    for _ in range(400):
        logs = limit + spread * draw(30)
        red += any(evidence(logs[:n], limit) >= -math.log(alpha) for n in range(1, 31))
    # 5 % of 400 are 20; more than 34 come by chance less than once in a thousand times
    assert red <= 34


def test_a_change_beyond_the_limit_is_found_soon():
    rng = np.random.default_rng(8)
    limit = math.log(1.025)
    took = []
    for _ in range(100):
        logs = math.log(1.05) + 0.012 * rng.standard_normal(40)
        found = [n for n in range(1, 41) if evidence(logs[:n], limit) >= -math.log(0.01)]
        assert found
        took.append(found[0])
    assert np.median(took) <= 11
