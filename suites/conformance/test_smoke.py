"""The least that every backend owes: it answers, repeatably, and refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.errors import InferbenchError

pytestmark = pytest.mark.conformance


def test_same_input_twice_gives_the_same_output(backend_worker):
    sample = backend_worker.inputs[0]
    first = backend_worker.infer(sample)
    second = backend_worker.infer(sample)
    assert set(first) == {spec["name"] for spec in backend_worker.opened["outputs"]}
    for name, array in first.items():
        assert array.size > 0, f"{name} is empty"
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_an_input_that_does_not_fit_is_refused(backend_worker):
    sample = dict(backend_worker.inputs[0])
    backend_worker.infer(sample)  # a cell that cannot even do this says so in its own words
    name, array = next(iter(sample.items()))
    with pytest.raises(InferbenchError, match=name):
        backend_worker.infer({**sample, name: array[np.newaxis]})
    with pytest.raises(InferbenchError, match="no_such_input"):
        backend_worker.infer({**sample, "no_such_input": array})
    backend_worker.infer(sample)  # a refusal must leave it usable
