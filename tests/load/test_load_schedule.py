"""Arrivals of an open loop: the rate that was asked for, spread as they should be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.load.schedule import due_s


def first(count, *args):
    return np.array(list(itertools.islice(due_s(*args), count)))


@given(st.floats(0.1, 1e5), st.integers(0, 1000))
def test_even_arrivals_keep_their_distance_and_do_not_drift(rate, seed):
    due = first(1000, "constant", rate, seed)
    assert due[0] == 0
    assert due[-1] == pytest.approx(999 / rate, rel=1e-12)


@given(st.floats(1, 1e4), st.integers(0, 10**6))
def test_poisson_arrivals_have_the_rate_and_the_spread_of_poisson(rate, seed):
    gaps = np.diff(first(20_000, "poisson", rate, seed), prepend=0)
    assert (gaps >= 0).all()
    assert gaps.mean() * rate == pytest.approx(1, abs=0.05)
    assert gaps.std() * rate == pytest.approx(1, abs=0.08)


def test_processes_do_not_arrive_together():
    for arrivals in ("poisson", "constant"):
        one, other = (first(100, arrivals, 10.0, seed, seed / 2) for seed in (0, 1))
        assert not set(one) & set(other)


def test_parts_of_a_poisson_process_are_one():
    parts = [first(5000, "poisson", 25.0, seed) for seed in range(4)]
    until = min(part[-1] for part in parts)
    gaps = np.diff(np.sort(np.concatenate([part[part < until] for part in parts])))
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(0.01, rel=0.08)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_of_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="sends nothing"):
        due_s("poisson", rate, 0)
