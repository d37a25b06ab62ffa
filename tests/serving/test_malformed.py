"""What is drawn is wrong for certain, and the same each time."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.serving.chaos.asking import body_of, datatype_of, read_answer
from pytest_inferbench.serving.chaos.malformed import WAYS, Good, malformed
from pytest_inferbench.serving.chaos.wire import request_of

X = np.arange(12, dtype=np.float32).reshape(3, 4)
GOOD = Good("/v2/models/model/infer", body_of({"x": X}, ["y"]))
WHOLE = request_of(GOOD.path, GOOD.body.content, GOOD.body.headers)
PLAIN = settings(deadline=None, suppress_health_check=list(HealthCheck))
ARRAYS = st.sampled_from(["float32", "int64", "uint8", "bool", "float16"]).flatmap(
    lambda name: st.lists(st.integers(0, 1), min_size=1, max_size=6).map(
        lambda values: np.array(values, name)
    )
)


@PLAIN
@given(malformed(GOOD))
def test_the_good_request_is_never_drawn(case):
    assert case.request != WHOLE
    assert case.way


@pytest.mark.parametrize("way", WAYS)
def test_every_way_draws_the_same_each_time(way):
    def drawn():
        found = []
        fixed = settings(PLAIN, max_examples=10, derandomize=True, database=None)
        fixed(given(WAYS[way](GOOD))(lambda case: found.append(case.request)))()
        return found

    first = drawn()
    assert first == drawn()
    assert len(set(first)) > 3


@PLAIN
@given(WAYS["shapes"](GOOD))
def test_a_wrong_shape_never_holds_the_elements(case):
    header = case.request.partition(b"\r\n\r\n")[2]
    (given_input,) = json.JSONDecoder().raw_decode(header.decode("latin-1"))[0]["inputs"]
    product = 1
    for size in given_input["shape"]:
        product *= size
    assert product != X.size


@PLAIN
@given(st.dictionaries(st.sampled_from("abc"), ARRAYS, min_size=1))
def test_a_body_is_read_as_what_was_written(arrays):
    body = body_of(arrays, ["y"])
    fields = json.loads(body.header)
    as_answer = json.dumps({"outputs": fields["inputs"]}).encode()
    found = read_answer(as_answer + body.tensors, len(as_answer))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert datatype_of(name, found[name]) == datatype_of(name, array)
        np.testing.assert_array_equal(found[name], array)
