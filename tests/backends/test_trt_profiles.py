"""Ranges of shapes: what is chosen, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.trt_profiles import BATCH, Profile, choose_profiles
from pytest_inferbench.errors import InferbenchError

fixed = st.lists(st.integers(1, 64), max_size=4).map(tuple)


@given(st.dictionaries(st.text(min_size=1), fixed))
def test_fixed_inputs_need_none(inputs):
    assert choose_profiles(inputs, {}) == {}


@given(fixed)
def test_an_open_batch_gets_one_to_eight(rest):
    profile = choose_profiles({"x": (-1, *rest)}, {})["x"]
    assert [profile.min[0], profile.opt[0], profile.max[0]] == list(BATCH)
    assert profile.min[1:] == profile.opt[1:] == profile.max[1:] == rest
    assert profile.fits((3, *rest))
    assert not profile.fits((9, *rest))
    assert not profile.fits((3, *rest, 1))


@given(st.lists(st.tuples(st.integers(-1, 8).filter(bool), st.integers(0, 4), st.integers(0, 4))))
def test_what_is_asked_and_fits_is_what_is_had(axes):
    shape = tuple(size for size, _, _ in axes)
    low = [size if size > 0 else 1 for size in shape]
    best = [s if s > 0 else 1 + a for s, a, _ in axes]
    high = [s if s > 0 else 1 + a + b for s, a, b in axes]
    chosen = choose_profiles({"x": shape}, {"x": {"min": low, "opt": best, "max": high}})
    assert chosen["x"] == Profile(tuple(low), tuple(best), tuple(high))
    assert chosen["x"].as_fields() == {"min": low, "opt": best, "max": high}


def test_the_best_shape_may_be_left_out():
    profile = choose_profiles({"x": (-1, 3)}, {"x": {"min": [1, 3], "max": [4, 3]}})["x"]
    assert profile == Profile((1, 3), (4, 3), (4, 3))
    assert str(profile) == "1x3 to 4x3"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 2))
def test_any_other_open_dimension_needs_one_and_the_message_says_how(sizes, at):
    shape = [*sizes, 5]
    shape[1 + at % len(sizes)] = -1
    with pytest.raises(InferbenchError, match="'tokens'") as caught:
        choose_profiles({"tokens": tuple(shape)}, {})
    assert caught.value.code == "IB-363"
    assert "profiles = {" in caught.value.hint
    assert '"tokens"' in caught.value.hint


def test_an_input_that_is_a_shape_needs_its_values():
    with pytest.raises(InferbenchError, match="'size' is a shape") as caught:
        choose_profiles({"size": (2,)}, {}, ["size"])
    assert caught.value.code == "IB-363"
    asked = {"size": {"min": [1, 1], "max": [64, 64]}}
    assert choose_profiles({"size": (2,)}, asked, ["size"])["size"].max == (64, 64)


@pytest.mark.parametrize(
    "asked",
    [
        3,
        {},
        {"min": [1, 3]},
        {"min": [1, 3], "max": [4, 3], "best": [2, 3]},
        {"min": [1], "max": [4]},
        {"min": [1, 4], "max": [4, 4]},
        {"min": [4, 3], "max": [1, 3]},
        {"min": [1, 3], "opt": [9, 3], "max": [4, 3]},
        {"min": [-1, 3], "max": [4, 3]},
        {"min": ["1", 3], "max": [4, 3]},
        {"min": [True, 3], "max": [4, 3]},
        {"min": 1, "max": 4},
    ],
)
def test_what_does_not_fit_is_refused_by_the_settings_name(asked):
    with pytest.raises(InferbenchError, match=r"profiles\.x") as caught:
        choose_profiles({"x": (-1, 3)}, {"x": asked})
    assert caught.value.code == "IB-364"


def test_a_range_for_an_unknown_input_is_refused():
    with pytest.raises(InferbenchError, match="no such input"):
        choose_profiles({"x": (1,)}, {"y": {"min": [1], "max": [1]}})
