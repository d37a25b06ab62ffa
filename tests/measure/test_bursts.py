"""Bursts: what is timed, what is left out, and that nothing else changes."""

from __future__ import annotations

import gc
import time

import numpy as np

from pytest_inferbench.measure.bursts import Bursts


def spin(microseconds, calls=None):
    def run():
        if calls is not None:
            calls.append(microseconds)
        end = time.perf_counter_ns() + int(microseconds * 1000)
        while time.perf_counter_ns() < end:
            pass

    return run


def bursts(*runs):
    return Bursts(list(runs), warmup_floor_s=0.02, warmup_ceiling_s=0.3, synchronize=lambda: None)


def test_a_burst_times_calls_and_leaves_out_its_start():
    calls = []
    made = bursts(spin(500, calls))
    before = len(calls)
    ns = made.take(0.05)
    assert ns.dtype == np.int64
    assert ns.min() >= 490_000
    assert 0 < len(ns) < len(calls) - before


def test_one_call_at_least_however_long_it_takes():
    ns = bursts(spin(3000)).take(0.0)
    assert len(ns) == 1
    assert ns[0] >= 2_900_000


def test_short_calls_are_timed_many_at_once_and_told_by_the_call():
    made = bursts(spin(5))
    assert made.calls_per_sample > 1
    assert 4_000 < np.percentile(made.take(0.05), 5) < 30_000
    assert made.facts()["calls_per_sample"] == made.calls_per_sample
    assert made.facts()["typical_ms"] > 0.004


def test_inputs_are_taken_in_turn_over_all_bursts():
    calls = []
    made = bursts(spin(200, calls), spin(201, calls))
    calls.clear()
    for _ in range(5):
        made.take(0.002)
    assert abs(calls.count(200) - calls.count(201)) <= 1


def test_the_garbage_collector_is_as_it_was():
    made = bursts(spin(100))
    made.take(0.001)
    assert gc.isenabled()
    gc.disable()
    try:
        made.take(0.001)
        assert not gc.isenabled()
    finally:
        gc.enable()
