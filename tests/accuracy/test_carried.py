"""Bits become the numbers that they stand for, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.accuracy.carried import as_numbers
from pytest_inferbench.artifacts.bfloat16 import round_to_bfloat16
from pytest_inferbench.errors import InferbenchError


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_comes_back_within_its_step(values):
    given = np.array(values, np.float32)
    back = as_numbers(round_to_bfloat16(given), "bfloat16")
    assert back.dtype == np.float32
    finite = np.isfinite(given)
    np.testing.assert_array_equal(back[~finite], given[~finite])
    largest = np.float32(3.3895314e38)
    near = np.clip(given[finite], -largest, largest)
    np.testing.assert_allclose(back[finite], near, rtol=2**-8, atol=1e-40)


def test_every_bfloat16_is_read_as_ml_dtypes_does():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.arange(1 << 16, dtype=np.uint16)
    want = bits.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(as_numbers(bits, "bfloat16"), want)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_too(kind):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.arange(256, dtype=np.uint8).reshape(16, 16)
    want = bits.view(getattr(ml_dtypes, kind)).astype(np.float32)
    np.testing.assert_array_equal(as_numbers(bits, kind), want)


def test_what_cannot_be_read_is_refused_by_name():
    with pytest.raises(InferbenchError, match="float8_of_tomorrow") as caught:
        as_numbers(np.zeros(3, np.uint8), "float8_of_tomorrow")
    assert caught.value.code == "IB-394"


@pytest.mark.parametrize(
    ("array", "declared"),
    [
        (np.zeros(3, np.float32), "float32"),
        (np.zeros(3, np.uint16), "uint16"),
        (np.zeros(3, np.float32), "bfloat16"),  # an adapter that gives numbers by itself
        (np.zeros(3, np.int8), "int4"),
        (np.array(["a"]), "string"),
    ],
)
def test_anything_else_is_as_it_is(array, declared):
    assert as_numbers(array, declared) is array
