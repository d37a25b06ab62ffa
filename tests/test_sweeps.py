"""What is fed at a batch size: taken from declared shapes and from the model's own samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.sweeps import Sweep, batch_of, batched_inputs, fixed_batch


def spec(name, *shape):
    return {"name": name, "dtype": "float32", "shape": None if shape == (None,) else list(shape)}


@pytest.mark.parametrize(
    ("specs", "batched"),
    [
        ([spec("x", "n", 3)], {"x"}),
        ([spec("x", -1, 3)], {"x"}),
        ([spec("x", 1, 3)], set()),
        ([spec("x", 8, "w")], set()),
        ([spec("x")], set()),
        ([spec("x", None)], set()),
        ([], set()),
        ([spec("ids", "b", "s"), spec("mask", "b", "s")], {"ids", "mask"}),
        ([spec("image", "n", 3), spec("boxes", "m", 4)], {"image"}),
        ([spec("scale", 1), spec("image", "n", 3)], {"image"}),
    ],
)
def test_an_open_first_dimension_is_the_batch(specs, batched):
    assert batched_inputs(specs) == batched


@pytest.mark.parametrize(
    ("specs", "size"),
    [
        ([spec("x", 1, 3)], 1),
        ([spec("x", 8, 3)], 8),
        ([spec("x", 8, 3), spec("y", 8)], 8),
        ([spec("x", 8, 3), spec("y", 2)], 1),
        ([spec("x")], 1),
        ([], 1),
    ],
)
def test_a_fixed_model_has_the_batch_that_its_inputs_agree_on(specs, size):
    assert fixed_batch(specs) == size


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 3))
def test_a_batch_holds_the_samples_in_turn(size, samples, rows):
    inputs = [
        {"x": np.full((rows, 2), index, np.float32), "scale": np.array(7.0)}
        for index in range(samples)
    ]
    batch = batch_of(inputs, frozenset({"x"}), size)
    expected = [(i // rows) % samples for i in range(size)]
    assert batch["x"][:, 0].tolist() == expected
    assert batch["x"].shape == (size, 2)
    assert batch["scale"] == 7.0


def test_all_inputs_of_a_batch_keep_together():
    inputs = [{"a": np.full((1, 1), i), "b": np.full((1, 2), 10 + i)} for i in range(3)]
    batch = batch_of(inputs, frozenset({"a", "b"}), 5)
    assert (batch["b"][:, 0] - batch["a"][:, 0]).tolist() == [10] * 5


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_the_best_rate_is_that_of_some_batch(p50_ms):
    sweep = Sweep(p50_ms, dict.fromkeys(p50_ms, 1), 1.0)
    rates = [sweep.rate(batch) for batch in p50_ms]
    assert sweep.best(list(p50_ms)) == max(rates)
    assert sweep.rate(min(p50_ms)) == pytest.approx(min(p50_ms) / p50_ms[min(p50_ms)] * 1000)
