"""Energy from readings, against what mathematics says of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.measure.power import counted_uj, counter_watts, integrated_j, mean_watts

RANGES_UJ = st.integers(1_000, 2**40)


@given(range_uj=RANGES_UJ, start=st.floats(0, 1, exclude_max=True), used=st.floats(0, 0.999))
def test_a_counter_may_start_again_once(range_uj, start, used):
    before_uj, used_uj = int(start * range_uj), int(used * range_uj)
    after_uj = (before_uj + used_uj) % range_uj
    assert counted_uj(before_uj, after_uj, range_uj) == used_uj


@pytest.mark.parametrize("range_uj", [0, 99])
def test_a_counter_that_fell_and_has_no_such_range_counted_nothing(range_uj):
    assert counted_uj(100, 40, range_uj) is None


times = st.lists(st.floats(0.001, 0.5), min_size=1, max_size=60).map(
    lambda steps: [sum(steps[:i]) for i in range(len(steps) + 1)]
)


@given(times, st.floats(0, 500), st.floats(-50, 50))
def test_power_that_changes_evenly_is_integrated_exactly(at_s, watts, slope):
    end_s = at_s[-1]
    exact_j = watts * end_s + slope * end_s**2 / 2
    read = [watts + slope * t for t in at_s]
    assert integrated_j(at_s, read) == pytest.approx(exact_j, rel=1e-9, abs=1e-6)
    assert mean_watts(at_s, read) == pytest.approx(exact_j / end_s, rel=1e-9, abs=1e-6)


@given(
    st.floats(10, 300), st.floats(0, 9), st.floats(0.3, 3), st.floats(0, 7), st.integers(40, 400)
)
def test_power_that_swings_is_integrated_within_the_rules_bound(mean, swing, hertz, phase, count):
    """The trapezoid rule is off by at most (b - a) h^2 max|f''| / 12."""
    omega, end_s = 2 * math.pi * hertz, 4.0
    step_s = end_s / count
    at_s = [i * step_s for i in range(count + 1)]
    read = [mean + swing * math.sin(omega * t + phase) for t in at_s]
    exact_j = mean * end_s - swing / omega * (math.cos(omega * end_s + phase) - math.cos(phase))
    bound_j = end_s * step_s**2 * swing * omega**2 / 12
    assert abs(integrated_j(at_s, read) - exact_j) <= bound_j + 1e-6


def test_one_look_is_no_power():
    assert mean_watts([1.0], [50.0]) is None
    assert mean_watts([1.0, 1.0], [50.0, 50.0]) is None


@given(
    watts=st.floats(5, 700),
    update_s=st.floats(0.001, 0.15),
    poll_s=st.floats(0.05, 0.2),
    offset_s=st.floats(0, 0.15),
    seconds=st.floats(1.0, 5.0),
)
def test_a_counter_that_is_seldom_updated_still_tells_the_power(
    watts, update_s, poll_s, offset_s, seconds
):
    at_s = [i * poll_s for i in range(int(seconds / poll_s) + 1)]
    joules = [watts * update_s * math.floor((t + offset_s) / update_s) for t in at_s]
    found = counter_watts(at_s, joules)
    if found is None:
        return
    changes = [t for i, t in enumerate(at_s) if i and joules[i] != joules[i - 1]]
    span_s = changes[-1] - changes[0]
    # Each of the two edges is known to within one update or one poll, whichever is shorter.
    assert found == pytest.approx(watts, rel=min(update_s, poll_s) / span_s + 1e-6)


@pytest.mark.parametrize("joules", [[], [5.0], [5.0] * 9, [5.0, 5.0, 6.0], [9.0, 8.0, 7.0]])
def test_a_counter_that_hardly_moves_tells_nothing(joules):
    assert counter_watts([0.1 * i for i in range(len(joules))], joules) is None
