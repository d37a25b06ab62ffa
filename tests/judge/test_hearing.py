"""What a machine lets be heard: the judges' own word, and speeds told apart."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.judge.hearing import audible, speeds_of
from pytest_inferbench.judge.rounds import Compared, judge_slowdown
from pytest_inferbench.judge.runs import Run
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import resolve

HARDWARE = "cpu-test-2c"
BUDGET = resolve({}, "p5", "fp32", HARDWARE)


def compared(logs, seconds=20.0):
    return Compared(logs, 1.0, 1.0, seconds, "itself")


def heard(noise, count=20, seed=1, probes=None):
    rng = random.Random(seed)
    logs = [rng.gauss(0, noise) for _ in range(count)]
    runs = [Run(math.exp(rng.gauss(0, noise)), (probes or [1.0])[0]) for _ in range(count)]
    if probes:
        runs = [Run(run.value, probes[i % len(probes)]) for i, run in enumerate(runs)]
    return audible(BUDGET, compared(logs), runs, hardware=HARDWARE, same_speed=0.08, compare_s=60.0)


def test_a_quieter_machine_hears_more_and_more_time_no_less():
    quiet, loud = heard(0.003), heard(0.05)
    assert BUDGET.limit < quiet.beside < loud.beside
    assert quiet.beside_for <= quiet.beside
    assert loud.beside_for < loud.beside
    assert quiet.fifth < loud.fifth
    assert quiet.fifth < quiet.first == loud.first  # the default spread stands in for one session
    assert not quiet.fifth_is_least
    assert quiet.launches == pytest.approx(0.003, rel=0.6)


def test_what_is_named_is_what_the_judge_would_have_called_regressed():
    rng = random.Random(2)
    logs = [rng.gauss(0, 0.01) for _ in range(20)]
    change = heard(0.01, seed=2).beside
    for factor, verdict in ((1.02, Verdict.REGRESSED), (0.98, Verdict.INCONCLUSIVE)):
        shift = math.log1p(change * factor)
        moved = [each + shift - compared(logs).centre for each in logs]
        assert judge_slowdown(BUDGET, compared(moved), 2).verdict is verdict


def test_too_few_rounds_hear_nothing_and_too_few_launches_say_so():
    few = heard(0.01, count=4)
    assert few.beside is None
    assert few.beside_for is not None
    assert few.fifth_is_least


def test_two_speeds_leave_the_sessions_at_the_present_one():
    # launch by launch at another speed: no session has enough at one
    torn = heard(0.01, count=15, probes=[1.0, 1.5])
    assert torn.first is not None
    assert torn.fifth is None or torn.fifth >= torn.first / 3


def probes(*levels_ms, step_s=0.2):
    return [(i * step_s, ms) for i, ms in enumerate(levels_ms)]


def test_one_speed_is_one_whatever_its_jitter():
    rng = random.Random(3)
    speeds = speeds_of(probes(*(1 + rng.random() * 0.03 for _ in range(40))))
    assert not speeds.several(0.08)
    assert speeds.seconds == pytest.approx(7.8)


def test_two_speeds_are_told_with_their_share_and_changes():
    speeds = speeds_of(probes(*[1.0] * 10, *[1.4] * 20, *[1.01] * 10))
    assert speeds.several(0.08)
    assert speeds.apart == pytest.approx(0.4, abs=0.02)
    assert speeds.slow_share == pytest.approx(0.5)
    assert speeds.changes == 2


def test_a_single_slow_moment_is_no_speed():
    speeds = speeds_of(probes(*[1.0] * 30, 2.0, *[1.0] * 30))
    assert not speeds.several(0.08)
    assert speeds.spread == pytest.approx(1.0)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_speeds_lie_between_the_fastest_and_the_slowest_probe(levels_ms):
    speeds = speeds_of(probes(*levels_ms))
    assert min(levels_ms) * 0.999 <= speeds.fast_ms <= speeds.slow_ms * 1.001
    assert speeds.slow_ms <= max(levels_ms) * 1.001
    assert 0 <= speeds.slow_share < 1
    assert 0 <= speeds.changes < len(levels_ms)
