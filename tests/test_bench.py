"""What a bench does with types: values that are fed to a graph at another one."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.artifacts.bfloat16 import round_to_bfloat16
from pytest_inferbench.bench import fits, narrowed, widened

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38}


def values_of(array, dtype):
    return widened(narrowed(array, dtype), dtype).astype(np.float64)


@pytest.mark.parametrize("dtype", sorted(LARGEST))
def test_what_is_too_large_becomes_the_largest(dtype):
    largest = LARGEST[dtype]
    given = np.array([3.4028235e38, -3.4028235e38, largest, 1.0, 0.0], np.float32)
    assert values_of(given, dtype).tolist() == [largest, -largest, largest, 1.0, 0.0]


@pytest.mark.parametrize("dtype", sorted(LARGEST))
def test_what_is_not_finite_stays_so(dtype):
    given = np.array([np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(values_of(given, dtype), given)


def test_bfloat16_is_rounded_as_weights_are():
    rng = np.random.default_rng(0)
    given = rng.integers(0, 2**32, 5000, np.uint32).view(np.float32)
    np.testing.assert_array_equal(narrowed(given, "bfloat16"), round_to_bfloat16(given))


def test_masks_fit_a_half_and_large_values_do_not():
    assert fits(np.array([1.0, -3.4e38, 65504.0]), "float16")
    assert not fits(np.array([1.0, 65505.0]), "float16")
    assert fits(np.array([1e20]), "bfloat16")
