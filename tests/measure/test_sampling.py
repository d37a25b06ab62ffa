from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pytest_inferbench.measure.sampling import (
    SHORTEST_SAMPLE_NS,
    STEADY_WINDOWS,
    device_times,
    is_steady,
    percentiles_ms,
    sample,
)

QUICK = {"duration_s": 0.1, "warmup_floor_s": 0.02, "warmup_ceiling_s": 0.5}


def spin(microseconds: float):
    def run() -> None:
        end = time.perf_counter_ns() + int(microseconds * 1000)
        while time.perf_counter_ns() < end:
            pass

    return run


def test_each_call_of_a_slow_model_is_one_sample():
    calls: list[int] = []
    run = spin(300)

    def counted() -> None:
        calls.append(1)
        run()

    samples = sample(counted, **QUICK)
    assert samples.calls_per_sample == 1
    assert samples.ns.dtype == np.int64
    assert len(calls) == samples.warmup_calls + len(samples.ns)
    assert samples.ns.min() >= 300_000 - samples.overhead_ns


def test_a_fast_model_is_called_several_times_a_clock_read_and_told_by_the_call():
    fast, slow = sample(spin(2), **QUICK), sample(spin(8), **QUICK)
    assert fast.calls_per_sample > slow.calls_per_sample > 1
    ratio = np.percentile(slow.ns, 5) / np.percentile(fast.ns, 5)
    assert 1.5 < ratio < 4.5
    lowest = np.percentile(fast.ns, 5)
    assert lowest * fast.calls_per_sample > 0.5 * SHORTEST_SAMPLE_NS


def test_nothing_costs_next_to_nothing_and_never_less():
    samples = sample(lambda: None, **QUICK)
    assert samples.ns.min() >= 0
    assert np.median(samples.ns) < samples.overhead_ns + 1000
    assert samples.overhead_ns > 0


def test_the_collector_is_off_while_sampling_and_as_before_after():
    seen: set[bool] = set()
    assert gc.isenabled()
    sample(lambda: seen.add(gc.isenabled()), **QUICK)
    assert seen == {False}
    assert gc.isenabled()
    gc.disable()
    try:
        sample(lambda: None, **QUICK)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_is_on_again_after_an_error():
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        sample(fail, **QUICK)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("lows_ns", "steady"),
    [
        ([], False),
        ([100] * STEADY_WINDOWS, False),
        ([100] * (STEADY_WINDOWS + 1), True),
        ([100 * 0.9**i for i in range(50)], False),
        ([100, *[99] * STEADY_WINDOWS], True),
        ([100, *[99] * (STEADY_WINDOWS - 1), 97], False),
        ([100, *[150] * STEADY_WINDOWS], True),  # slower is not a warm-up that goes on
    ],
)
def test_steady_is_when_it_gets_no_faster(lows_ns, steady):
    assert is_steady(lows_ns) is steady


@given(
    st.floats(0.0025, 0.5),
    st.integers(STEADY_WINDOWS + 1, 200),
    st.floats(1e3, 1e9),
)
def test_a_series_that_keeps_getting_faster_is_not_steady(gain, windows, first_ns):
    assert not is_steady([first_ns * (1 - gain) ** i for i in range(windows)])


@given(
    st.floats(0.0, 0.5),
    st.integers(STEADY_WINDOWS + 1, 50),
    st.lists(st.floats(1.0, 1.5), min_size=60, max_size=60),
)
def test_what_others_add_to_single_windows_keeps_no_series_from_being_steady(gain, fell, noise):
    """Noise only ever adds: one quiet window before the last ones and one among them is enough."""
    settled = [100.0 * (1 - gain) ** min(i, fell) for i in range(60)]
    noisy = [low * added for low, added in zip(settled, noise, strict=True)]
    noisy[52] = noisy[58] = settled[-1]
    assert is_steady(noisy)


@given(st.floats(0.0, 0.1), st.integers(STEADY_WINDOWS + 1, 60))
def test_a_series_that_gets_slower_is_warm(loss, windows):
    assert is_steady([100.0 * (1 + loss) ** i for i in range(windows)])


@given(st.lists(st.floats(1, 1e9), min_size=STEADY_WINDOWS + 1, max_size=30))
def test_a_gain_in_the_last_windows_is_never_steady(lows_ns):
    assert not is_steady([*lows_ns, min(lows_ns) * 0.97])
    assert is_steady([*lows_ns, *[min(lows_ns)] * STEADY_WINDOWS])


def test_warm_up_lasts_at_least_its_floor_and_then_until_steady():
    samples = sample(spin(200), duration_s=0.01, warmup_floor_s=0.3, warmup_ceiling_s=30.0)
    assert samples.warmup_steady
    assert samples.warmup_s >= 0.3


def test_warm_up_that_does_not_settle_ends_at_its_ceiling_and_says_so():
    samples = sample(spin(200), duration_s=0.01, warmup_floor_s=1e9, warmup_ceiling_s=0.1)
    assert not samples.warmup_steady
    assert samples.warmup_s >= 0.1


@pytest.mark.parametrize(("microseconds", "most"), [(200, 7), (2, 60), (1, 5)])
def test_calls_are_limited(microseconds, most):
    samples = sample(spin(microseconds), **{**QUICK, "duration_s": 5.0}, max_calls=most)
    assert 1 <= len(samples.ns) * samples.calls_per_sample <= most


def test_one_sample_is_taken_however_short_the_time():
    samples = sample(spin(30_000), duration_s=0.0, warmup_floor_s=0.0, warmup_ceiling_s=0.0)
    assert len(samples.ns) == 1
    assert samples.warmup_calls == 1


@pytest.mark.parametrize("microseconds", [1, 200])
def test_several_inputs_take_turns(microseconds):
    counts = [0, 0, 0]

    def counting(index: int):
        run = spin(microseconds)

        def call() -> None:
            counts[index] += 1
            run()

        return call

    samples = sample([counting(i) for i in range(3)], **QUICK)
    assert max(counts) - min(counts) <= 2 * samples.calls_per_sample
    assert sum(counts) == samples.warmup_calls + len(samples.ns) * samples.calls_per_sample


def test_synchronizing_is_part_of_a_sample():
    waits: list[int] = []
    samples = sample(lambda: None, **QUICK, synchronize=lambda: (waits.append(1), spin(100)()))
    assert len(waits) == samples.warmup_calls + len(samples.ns)
    assert samples.calls_per_sample == 1
    assert np.percentile(samples.ns, 5) > 90_000


@given(npst.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 10**12)))
def test_percentiles_are_ordered_and_within_the_samples(ns):
    figures = percentiles_ms(ns)
    ordered = [figures[name] for name in ("min", "p5", "p50", "p90", "p99")]
    assert ordered == sorted(ordered)
    low, high = ns.min() / 1e6, ns.max() / 1e6
    assert figures["min"] == low
    assert low * (1 - 1e-9) <= figures["mean"] <= high * (1 + 1e-9)
    assert ordered[-1] <= high * (1 + 1e-9)


def test_percentiles_of_known_samples():
    figures = percentiles_ms(np.arange(101, dtype=np.int64) * 1_000_000)
    assert figures == pytest.approx(
        {"p5": 5.0, "p50": 50.0, "p90": 90.0, "p99": 99.0, "mean": 50.0, "min": 0.0}
    )


def test_the_devices_time_is_asked_of_each_call_in_turn():
    order: list[int] = []
    runs = [lambda i=i: order.append(i) for i in range(3)]

    def timer(run) -> float:
        run()
        return 0.25 + len(order) / 1000

    ns = device_times(runs, timer, duration_s=60, max_calls=7)
    assert order == [0, 1, 2, 0, 1, 2, 0]
    assert ns.tolist() == [250_000 + 1000 * i for i in range(1, 8)]


def test_the_devices_time_is_taken_at_least_once_and_not_for_ever():
    assert len(device_times([spin(100)], lambda run: run() or 1.0, duration_s=0.0)) == 1
    started = time.perf_counter()
    device_times([spin(100)], lambda run: run() or 1.0, duration_s=0.05)
    assert time.perf_counter() - started < 5


def test_without_a_timer_no_call_is_made():
    assert len(device_times([lambda: 1 / 0], None, duration_s=1.0)) == 0


def test_inputs_are_rotated_within_batches_too():
    """Five inputs and batches of another size: over a round each is called as often as the rest."""
    order: list[int] = []
    samples = sample(
        [lambda i=i: order.append(i) for i in range(5)],
        duration_s=0.02,
        warmup_floor_s=0.01,
        warmup_ceiling_s=0.05,
        max_calls=2000,
    )
    timed = order[samples.warmup_calls :]
    assert samples.calls_per_sample > 5
    assert timed == [i % 5 for i in range(len(timed))]
