"""Why a run does not count, from what was seen of the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.hardware.nvml import POWER_CAP, THERMAL
from pytest_inferbench.judge.validity import share_astray, why_disturbed
from pytest_inferbench.measure.watcher import Sighting
from pytest_inferbench.settings.schema import LatencySettings

LATENCY = LatencySettings()


def why(latency=LATENCY, **seen):
    return why_disturbed(latency, Sighting(1.0, **seen).as_fields())


def test_what_was_not_seen_disturbs_nothing():
    assert why() == ""
    assert why_disturbed(LATENCY, {}) == ""


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (
            {"before": {"governor": "performance"}, "after": {"governor": "powersave"}},
            "the CPU's governor changed meanwhile: performance -> powersave",
        ),
        (
            {"before": {"power_mode": "15w"}, "after": {"power_mode": "maxn"}},
            "the power mode changed meanwhile: 15w -> maxn",
        ),
        (
            {"before": {"cpu_limit_mhz": 4700.0}, "after": {"cpu_limit_mhz": 2400.0}},
            "the CPU's highest clock was set from 4700 to 2400 MHz meanwhile",
        ),
        ({"throttled": {THERMAL: 0.4}}, "the device was throttled by heat for 40% of the time"),
        ({"throttled": {POWER_CAP: 0.4}}, "its power limit for 40%"),
        ({"throttled_share": 0.3}, "heat slowed the CPU for 30% of the time"),
        (
            {"throttle_events": {"over-current alarm oc3": 2}},
            "throttled 2 times meanwhile: over-current alarm oc3",
        ),
        (
            {"clocks_mhz": (1980.0, 1980.0, 1980.0, 1410.0)},
            "the device's clock moved between 1410 and 1980 MHz",
        ),
        (
            {"strangers": ({"pid": 77, "name": "blender", "share": 0.6, "stayed": True},)},
            "blender (pid 77) used 60% of the device",
        ),
        (
            {"strangers": ({"pid": 77, "name": "blender", "share": None, "stayed": False},)},
            "blender (pid 77) came to the device or left it meanwhile",
        ),
    ],
)
def test_each_disturbance_says_what_it_was(seen, reason):
    assert reason in why(**seen)


@pytest.mark.parametrize(
    "seen",
    [
        {"before": {"governor": "performance"}, "after": {"governor": "performance"}},
        {"before": {"governor": ""}, "after": {"governor": "performance"}},
        {"throttled": {THERMAL: 0.05}},
        {"throttled_share": 0.02, "throttle_events": {"heat of the CPU": 3}},
        {"clocks_mhz": (1980.0, 1965.0, 1950.0, 1980.0)},
        {"strangers": ({"pid": 7, "name": "Xorg", "share": 0.01, "stayed": True},)},
        {"strangers": ({"pid": 7, "name": "jupyter", "share": None, "stayed": True},)},
    ],
)
def test_what_is_within_the_tolerances_counts(seen):
    assert why(**seen) == ""


def test_a_message_of_clocks_says_where_to_read_on():
    assert "docs/quiet-machine.md" in why(clocks_mhz=(1980.0, 1980.0, 1980.0, 1410.0))
    assert "docs/quiet-machine.md" in why(throttled={POWER_CAP: 1.0})


def test_a_power_limit_may_be_allowed_and_heat_may_not():
    allowed = LatencySettings(allow_power_cap=True)
    assert why(allowed, throttled={POWER_CAP: 1.0}) == ""
    assert "by heat" in why(allowed, throttled={POWER_CAP: 1.0, THERMAL: 0.5})


def test_tolerances_can_be_widened():
    seen = {
        "throttled": {THERMAL: 0.9},
        "throttle_events": {"heat of the CPU": 3},
        "clocks_mhz": (300.0, 1980.0),
        "strangers": ({"pid": 7, "name": "a", "share": 0.9, "stayed": True},),
    }
    assert why(**seen)
    assert why(LatencySettings(most_disturbed=1.0, most_stranger=1.0), **seen) == ""


clocks = st.lists(st.floats(1, 5000), max_size=50)


@given(clocks, st.floats(0.001, 2))
def test_a_share_is_one_and_order_and_unit_do_not_matter(clocks_mhz, same):
    share = share_astray(clocks_mhz, same)
    assert 0 <= share <= 1
    assert share_astray(clocks_mhz[::-1], same) == share
    assert share_astray([mhz * 1024 for mhz in clocks_mhz], same) == share


@given(st.floats(100, 3000), st.integers(1, 50), st.floats(0.001, 0.5))
def test_a_steady_clock_is_never_astray(mhz, count, same):
    assert share_astray([mhz] * count, same) == 0


@given(st.integers(5, 40), st.data())
def test_the_share_is_that_of_the_clocks_that_left(count, data):
    left = data.draw(st.integers(0, (count - 1) // 2))
    order = data.draw(st.permutations([1000.0] * (count - left) + [700.0] * left))
    assert share_astray(order, 0.05) == pytest.approx(left / count)
