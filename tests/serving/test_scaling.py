"""Peak, saturation, efficiency and cost: what must hold of any sweep."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.serving.scaling import (
    SATURATED,
    Point,
    Price,
    cost_per_million,
    saturation,
    scale,
)

RATES = st.floats(0.1, 1e6)


def point(concurrency, rate, units=1, failures=0):
    return Point(units, concurrency, (rate,), (5.0,), failures)


@st.composite
def curves(draw, units=1):
    concurrencies = draw(st.lists(st.integers(1, 512), min_size=1, max_size=8, unique=True))
    return [point(each, draw(RATES), units) for each in concurrencies]


@given(curves(), st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(points, random):
    shuffled = list(points)
    random.shuffle(shuffled)
    (ours,), (theirs,) = scale(points), scale(shuffled)
    assert (ours.peak_per_s, ours.saturation) == (theirs.peak_per_s, theirs.saturation)


@given(curves())
def test_no_point_is_better_than_the_peak_and_saturation_reaches_it(points):
    (row,) = scale(points)
    assert row.peak_per_s == max(each.rate_per_s for each in points)
    assert row.efficiency == 1
    highest = max(each.concurrency for each in points)
    enough = [each for each in points if each.rate_per_s >= SATURATED * row.peak_per_s]
    lowest = min(each.concurrency for each in enough)
    assert row.saturation == (None if lowest == highest else lowest)
    assert row.is_lower_bound == (lowest == highest)


@given(curves(), st.floats(0.5, 2))
def test_a_faster_machine_saturates_at_the_same_point(points, factor):
    # powers of two only: rounding must not move a rate across the threshold
    factor = 2.0 ** round(math.log2(factor))
    faster = [point(each.concurrency, each.rate_per_s * factor) for each in points]
    assert saturation(faster) == saturation(points)
    assert scale(faster)[0].peak_per_s == scale(points)[0].peak_per_s * factor


@given(curves(), st.integers(2, 16))
def test_linear_scaling_has_efficiency_one(points, factor):
    more = [point(e.concurrency, e.rate_per_s * factor, units=factor) for e in points]
    rows = scale([*more, *points])
    assert [row.units for row in rows] == [1, factor]
    assert rows[1].efficiency == pytest.approx(1)


@given(curves(), st.integers(2, 16))
def test_units_that_bring_nothing_have_one_over_their_count(points, factor):
    more = [point(each.concurrency, each.rate_per_s, units=factor) for each in points]
    assert scale([*points, *more])[1].efficiency == pytest.approx(1 / factor)


@given(RATES, st.floats(0, 1000), st.floats(0, 1000), st.integers(1, 64))
def test_a_million_costs_the_time_that_it_takes(rate, host, unit, units):
    price = Price(host, unit)
    (row,) = scale([point(1, rate, units)], price)
    seconds = 1e6 / rate
    assert row.cost_per_million == pytest.approx((host + units * unit) * seconds / 3600)
    assert cost_per_million(2 * rate, host) == pytest.approx(cost_per_million(rate, host) / 2)


def test_ten_thousand_a_second_at_36_an_hour():
    assert cost_per_million(10_000, 36) == pytest.approx(1)


def test_a_point_with_failures_is_no_peak():
    (row,) = scale([point(1, 100), point(2, 500, failures=1), point(4, 120)])
    assert (row.peak_per_s, row.at_concurrency, row.saturation) == (120, 4, None)


def test_where_nothing_was_measured_nothing_is_told():
    rows = scale([point(1, 100), point(8, 0.0, units=2)], Price(1))
    assert rows[0].cost_per_million is not None
    assert math.isnan(rows[1].peak_per_s)
    assert math.isnan(rows[1].efficiency)
    assert rows[1].cost_per_million is None
    assert rows[1].is_lower_bound


def test_a_later_count_without_a_base_has_no_efficiency():
    rows = scale([point(1, math.nan), point(4, 10, units=2)])
    assert math.isnan(rows[1].efficiency)


def test_the_median_of_the_runs_is_taken():
    (row,) = scale([Point(1, 4, (90, 100, 1000), (5, 4, 40))])
    assert (row.peak_per_s, row.peak_p95_ms) == (100, 5)


def test_a_point_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        scale([point(4, 1), point(4, 2)])
