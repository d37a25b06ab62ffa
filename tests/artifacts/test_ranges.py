"""Histograms count exactly, and ranges are those that their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.artifacts.ranges import (
    SIDE_BINS,
    Histogram,
    least_entropy,
    percentile,
)

sizes = st.floats(2.0**-60, 2.0**60, width=32) | st.floats(0.125, 1, width=32)
arrays = hnp.arrays(
    np.float32, st.integers(1, 40), elements=st.just(0.0) | sizes | sizes.map(lambda x: -x)
)


def counted(*parts):
    histogram = Histogram()
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


@given(values=arrays)
def test_every_value_is_in_the_bin_that_holds_it(values):
    histogram = counted(values)
    end = 2.0**histogram.power
    expected = np.zeros(2 * SIDE_BINS, np.int64)
    for value in values.tolist():
        expected[int(np.floor(value / histogram.width)) + SIDE_BINS] += 1
    assert histogram.counts.tolist() == expected.tolist()
    assert np.abs(values).max() < end
    assert (histogram.low, histogram.high) == (values.min(), values.max())


@given(first=arrays, second=arrays)
def test_order_and_parts_change_nothing(first, second):
    whole = counted(np.concatenate([first, second]))
    for other in (counted(first, second), counted(second, first)):
        assert other.counts.tolist() == whole.counts.tolist()
        assert (other.power, other.low, other.high) == (whole.power, whole.low, whole.high)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_noted(bad):
    assert not counted([1, 2], [bad, 3]).is_finite
    assert counted([1, 2]).is_finite


@given(values=arrays, symmetric=st.booleans())
def test_the_whole_share_is_the_extremes(values, symmetric):
    low, high = percentile(counted(values), 100, symmetric=symmetric)
    if symmetric:
        assert max(-low, high) == np.abs(values).max()
    else:
        assert (low, high) == (values.min(), values.max())


@pytest.mark.parametrize("share", [99.99, 99.0, 75.0])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_percentile_is_numpy_s_within_a_bin(share, symmetric):
    values = np.random.default_rng(3).normal(0.5, 1, 200_000).astype(np.float32)
    histogram = counted(*np.array_split(values, 7))
    low, high = percentile(histogram, share, symmetric=symmetric)
    if symmetric:
        edge = np.quantile(np.abs(values), share / 100)
        expected = (max(-edge, values.min()), min(edge, values.max()))
    else:
        rest = (1 - share / 100) / 2
        expected = (np.quantile(values, rest), np.quantile(values, 1 - rest))
    assert (low, high) == pytest.approx(expected, abs=2 * histogram.width)


@pytest.mark.parametrize("symmetric", [True, False])
def test_entropy_cuts_off_what_is_far_and_rare_and_keeps_what_is_even(symmetric):
    rng = np.random.default_rng(0)
    even = rng.uniform(-1, 1, 100_000)
    low, high = least_entropy(counted(even), symmetric=symmetric)
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)
    tailed = np.concatenate([rng.normal(0, 1, 200_000), [80.0, -75.0]])
    low, high = least_entropy(counted(tailed), symmetric=symmetric)
    assert -20 < low < -2
    assert 2 < high < 20


def test_entropy_of_what_never_falls_below_zero_begins_there():
    values = np.maximum(np.random.default_rng(0).normal(0, 1, 100_000), 0)
    low, high = least_entropy(counted(values), symmetric=False)
    assert low == 0
    assert 2 < high <= values.max()


@given(values=arrays, symmetric=st.booleans())
def test_no_range_is_wider_than_the_values_or_turned_round(values, symmetric):
    histogram = counted(values)
    for low, high in (
        least_entropy(histogram, symmetric=symmetric),
        percentile(histogram, 99.9, symmetric=symmetric),
    ):
        assert np.isfinite([low, high]).all()
        assert values.min() <= low
        assert high <= values.max()
