"""Only answers that can be told apart are asked for: else none that was swapped would be seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.load.inputs import unlike
from pytest_inferbench.serving.parity import Parity
from pytest_inferbench.serving.unlike import are_unlike, told_apart

TOLERANCE = 1e-3


def answer(*values):
    return {"y": np.array([values], np.float32)}


def test_the_first_of_those_that_are_alike_is_taken_and_no_more_than_asked_for():
    answers = [answer(1, 2), answer(1, 2.0001), answer(1, 3), answer(1, 4)]
    assert told_apart(enumerate(answers), TOLERANCE, 9) == [0, 2, 3]
    assert told_apart(enumerate(answers), TOLERANCE, 2) == [0, 2]
    assert told_apart(enumerate([answer(1, 2)] * 3), TOLERANCE, 9) == [0]
    assert told_apart(enumerate([{"y": np.array(["a"])}, {"y": np.array(["b"])}]), 0.1, 9) == [0, 1]


rows = st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3)


@given(rows, rows)
def test_what_is_told_apart_is_found_when_it_is_swapped(one, other):
    first, second = answer(*one), answer(*other)
    if are_unlike(first, second, TOLERANCE):
        assert unlike(first, second, TOLERANCE)
        assert unlike(second, first, TOLERANCE)


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([answer(1), answer(1), answer(1.0001)], "alike whatever it is asked"),
        ([answer(1)], "one sample of a kind"),
        ([answer(1), answer(1, 2)], "another shape for each"),
    ],
)
def test_clients_are_not_asked_whose_answers_are_not_told_apart(outputs, why):
    inputs = [{"x": np.full((1, 2), number, np.float32)} for number in range(len(outputs))]
    parity = Parity(SimpleNamespace(inputs=inputs, cell=SimpleNamespace(precision="fp32")))
    vars(parity)["local_outputs"] = outputs
    with pytest.raises(NotAsked, match=why):
        parity.together()
