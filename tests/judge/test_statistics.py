from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.statistics import (
    log_median,
    normal_quantile,
    student_t_cdf,
    student_t_quantile,
)

# Student's t, upper quantiles, from the tables that every textbook prints.
TABLE = [
    (0.975, 1, 12.706),
    (0.975, 4, 2.776),
    (0.99, 2, 6.965),
    (0.95, 10, 1.812),
    (0.995, 30, 2.750),
    (0.9995, 5, 6.869),
]


@pytest.mark.parametrize(("probability", "df", "expected"), TABLE)
def test_quantiles_are_the_printed_ones(probability, df, expected):
    assert student_t_quantile(probability, df) == pytest.approx(expected, abs=6e-4)


@given(st.floats(-50, 50), st.integers(1, 60))
def test_cdf_is_symmetric_and_inside_its_bounds(t, df):
    value = student_t_cdf(t, df)
    assert 0 <= value <= 1
    assert value + student_t_cdf(-t, df) == pytest.approx(1, abs=1e-9)


@given(st.floats(1e-5, 1 - 1e-5), st.integers(1, 40))
def test_quantile_inverts_the_cdf(probability, df):
    assert student_t_cdf(student_t_quantile(probability, df), df) == pytest.approx(
        probability, abs=1e-8
    )


def test_many_degrees_of_freedom_are_the_normal():
    assert student_t_quantile(0.99, 5000) == pytest.approx(normal_quantile(0.99), abs=2e-3)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, math.nan])
def test_a_quantile_outside_the_open_interval_is_refused(probability):
    with pytest.raises(ValueError, match="probability"):
        student_t_quantile(probability, 3)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9))
def test_log_median_lies_among_the_values(values):
    middle = math.exp(log_median(values))
    assert min(values) * (1 - 1e-9) <= middle <= max(values) * (1 + 1e-9)
