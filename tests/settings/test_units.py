"""Quantities: what goes in with a unit comes out in the canonical one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_inferbench.settings.units import UNITS, positive, quantity

written = st.sampled_from(
    [(canonical, unit) for canonical, units in UNITS.items() for unit in units]
)


@hypothesis_settings(deadline=None)
@given(
    number=st.floats(min_value=1e-9, max_value=1e12),
    pair=written,
    space=st.sampled_from(["", " ", "  "]),
)
def test_numbers_with_units_round_trip(number, pair, space):
    canonical, unit = pair
    value = quantity(f"{number!r}{space}{unit}", canonical)
    back = value / UNITS[canonical][unit]
    assert math.isclose(back, number, rel_tol=1e-12)


@hypothesis_settings(deadline=None)
@given(number=st.floats(allow_nan=False, allow_infinity=False), canonical=st.sampled_from([*UNITS]))
def test_bare_numbers_are_in_the_canonical_unit(number, canonical):
    assert quantity(number, canonical) == number


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("30 ms", "ms", 30),
        ("0.5 s", "ms", 500),
        ("120 us", "ms", 0.12),
        ("120µs", "ms", 0.12),
        ("120 μs", "ms", 0.12),  # the Greek letter, as some keyboards write it
        ("200 MiB", "MiB", 200),
        ("1.5 GiB", "MiB", 1536),
        ("500 ms", "s", 0.5),
        ("1 h", "s", 3600),
        ("2", "s", 2),
        (" .5 s ", "s", 0.5),
        ("1e3 ms", "s", 1),
    ],
)
def test_examples(text, unit, value):
    assert quantity(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [
        ("30 ms", "MiB", "KiB, MiB, GiB"),
        ("5 MiB", "ms", "ms"),
        ("5 MB", "MiB", '"MB" is not a unit'),
        ("0.9 ms", "ratio", "plain number"),
        ("5%", "ms", "cannot read"),
        ("", "ms", "cannot read"),
        ("1 2 s", "s", "cannot read"),
        ("one second", "s", "cannot read"),
        (True, "s", "expected a number"),
        (None, "s", "expected a number"),
        (math.nan, "s", "finite"),
        (math.inf, "s", "finite"),
        (10**400, "s", "finite"),
        ("1e999 s", "s", "finite"),
    ],
)
def test_what_cannot_be_read_says_why(value, unit, says):
    with pytest.raises(ValueError, match=says):
        quantity(value, unit)


@pytest.mark.parametrize("value", [0, -1, "0 s", "-5 ms"])
def test_positive_refuses(value):
    with pytest.raises(ValueError, match="above zero"):
        positive(value, "s")
