"""Percentiles of counted latencies are those of the latencies, to a thousandth, merged or not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.load.histogram import Histogram, merged, of_json, of_latencies

latencies = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


@given(latencies, st.floats(0, 100))
def test_a_percentile_is_within_a_thousandth_of_the_latency_at_that_rank(values, percent):
    exact = np.percentile(np.array(values), percent, method="inverted_cdf") / 1e6
    assert of_latencies(values).percentile_ms(percent) == pytest.approx(exact, rel=1e-3, abs=1e-9)


@given(st.lists(latencies, min_size=1, max_size=5))
def test_merged_histograms_are_those_of_all_latencies_together(parts):
    together = of_latencies([each for part in parts for each in part])
    one_by_one = merged(map(of_latencies, parts))
    assert one_by_one.counts == together.counts
    assert one_by_one.mean_ms == pytest.approx(together.mean_ms)
    assert one_by_one.least_ms == together.least_ms
    assert one_by_one.most_ms == together.most_ms


@given(latencies)
def test_moments_are_exact_and_survive_json(values):
    again = of_json(json.loads(json.dumps(of_latencies(values).as_json())))
    in_ms = np.array(values) / 1e6
    assert again.mean_ms == pytest.approx(in_ms.mean())
    if len(values) > 1 and in_ms.std() > 1e-3 * in_ms.mean():
        assert again.sd_ms == pytest.approx(in_ms.std(ddof=1), rel=1e-3)
    assert again == of_latencies(values)


def test_nothing_is_no_latency_of_zero():
    for empty in (Histogram(), of_latencies([]), of_json(Histogram().as_json()), merged([])):
        assert empty.count == 0
        assert math.isnan(empty.mean_ms)
        assert math.isnan(empty.percentile_ms(50))


def test_a_share_above_all_is_refused():
    with pytest.raises(ValueError, match="no percentage"):
        of_latencies([1]).percentile_ms(101)
