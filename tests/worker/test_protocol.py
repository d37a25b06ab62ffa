from __future__ import annotations

import contextlib
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.protocol import decode, encode, pack_samples, unpack_samples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=12,
)
DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(),
    npst.datetime64_dtypes(),
    npst.byte_string_dtypes(),
    npst.unicode_string_dtypes(),
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and type(a) is type(b)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), ARRAYS, max_size=4))
def test_what_goes_in_comes_out(fields, arrays):
    got_fields, got_arrays = decode(encode(fields, arrays))
    assert same(fields, got_fields)
    assert list(arrays) == list(got_arrays)
    for name, array in arrays.items():
        got = got_arrays[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tobytes() == array.tobytes()  # bit for bit: NaN payloads, negative zero


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(4, 6)[::2, ::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.broadcast_to(np.float16(1.5), (3, 4)),
        np.float32(2),
        np.zeros((0, 3, 2), np.int8),
        np.array(True),
    ],
    ids=["strided", "fortran", "broadcast", "0-d", "empty", "bool"],
)
def test_any_memory_layout(array):
    got = decode(encode({}, {"a": array}))[1]["a"]
    assert (got.shape, got.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(got, array)
    assert got.flags.c_contiguous


def test_buffers_are_aligned_and_writable_when_the_frame_is():
    frame = encode({"text": "shifts the header"}, {"a": np.ones(3, np.int8), "b": np.ones(5)})
    arrays = decode(bytearray(frame))[1]
    start = np.frombuffer(frame, np.uint8).ctypes.data
    for array in decode(frame)[1].values():
        assert (array.ctypes.data - start) % 64 == 0
    arrays["b"][0] = 7.0
    assert arrays["b"].flags.writeable


def test_numpy_scalars_are_fields():
    fields, _ = decode(encode({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)}))
    assert fields == {"a": 0.5, "b": 3, "c": True}


@pytest.mark.parametrize(
    ("fields", "arrays"),
    [
        ({"a": b"bytes"}, {}),
        ({"a": object()}, {}),
        ({(1, 2): 3}, {}),
        ({}, {"a": np.array([None, "x"])}),
        ({}, {"a": np.zeros(2, [("x", "f4")])}),
        ({}, {"a": np.zeros(2, "V2")}),
    ],
)
def test_what_cannot_be_sent_is_said(fields, arrays):
    with pytest.raises(InferbenchError) as caught:
        encode(fields, arrays)
    assert caught.value.code == "IB-310"


def test_bfloat16_is_refused_with_advice():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(InferbenchError, match="bfloat16") as caught:
        encode({}, {"weights": np.zeros(3, ml_dtypes.bfloat16)})
    assert "uint16" in caught.value.hint


def frame_of(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + body


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        b"\xff\xff\xff\xff{}",
        frame_of(b"not json"),
        frame_of(b"[" * 100_000),
        frame_of([]),
        frame_of({"fields": {}}),
        frame_of({"fields": [], "arrays": []}),
        frame_of({"fields": {}, "arrays": [["a", "<f4"]]}),
        frame_of({"fields": {}, "arrays": [["a", "<f4", [1 << 62, 1 << 62]]]}),
        frame_of({"fields": {}, "arrays": [["a", "<f4", [-1]]]}),
        frame_of({"fields": {}, "arrays": [["a", "<f4", "33"]]}),
        frame_of({"fields": {}, "arrays": [["a", "nonsense", [1]]]}),
        frame_of({"fields": {}, "arrays": [["a", "|O", [1]]]}, bytes(64)),
        frame_of({"fields": {}, "arrays": []}, b"left over"),
    ],
)
def test_malformed_frames_are_named(frame):
    with pytest.raises(InferbenchError) as caught:
        decode(frame)
    assert caught.value.code == "IB-310"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_is_more_than_an_error(data):
    frame = bytearray(encode({"verb": "infer"}, {"a": np.arange(6.0).reshape(2, 3)}))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    with contextlib.suppress(InferbenchError):
        decode(frame)


def test_several_inputs_travel_as_one():
    samples = [{"a/b": np.array(i), "c": np.zeros(i)} for i in range(12)]
    got = unpack_samples(decode(encode({}, pack_samples(samples)))[1])
    assert [int(each["a/b"]) for each in got] == list(range(12))
    assert [len(each["c"]) for each in got] == list(range(12))
    with pytest.raises(InferbenchError, match="index/name"):
        unpack_samples({"images": np.zeros(1)})
