"""Bodies and back: whatever is drawn comes out as it went in, and nothing but named errors else."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from pytest_inferbench.backends import http_payloads as payloads
from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.http_images import ImageForm, encode_images, png
from pytest_inferbench.backends.http_tensors import NOT_FINITE, UnreadableError
from pytest_inferbench.errors import InferbenchError

REALS = ["bool", *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64))]
REALS += ["float16", "float32", "float64"]
SHAPES = drawn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FINITE_OR_NOT = st.sampled_from(REALS).flatmap(lambda dtype: drawn.arrays(dtype, SHAPES))
WITH_COMPLEX = st.sampled_from([*REALS, "complex64", "complex128"]).flatmap(
    lambda dtype: drawn.arrays(dtype, SHAPES)
)
NAMES = st.text(min_size=1, max_size=8)
# numpy's own text takes a zero at the end for padding
ONE_TEXT = st.text(max_size=5).filter(lambda text: not text.endswith("\0"))
TEXTS = drawn.arrays(object, SHAPES, elements=ONE_TEXT, fill=st.nothing())


def dtype_of(array):
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def specs(arrays, known=True):
    return [
        TensorSpec(name, dtype_of(each), each.shape if known else None)
        for name, each in arrays.items()
    ]


def answered(body, outputs, style="infer"):
    """Read a request of tensors as if it were an answer: both hold them alike."""
    content = body.content
    if body.headers["Content-Type"] == payloads.JSON:
        fields = json.loads(content)
        tensors = fields.pop("inputs", None)
        fields = {"outputs": tensors} if tensors else {"embeddings": fields["input"]}
        content = json.dumps(fields).encode()
    return payloads.read_answer(content, body.headers, outputs, style, 0).arrays


def same(found, expected, bits=True):
    if dtype_of(expected) == "string":
        assert found.dtype.kind == "U", "what a worker can send"
    else:
        assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if bits and expected.dtype.kind != "O":
        assert found.tobytes() == expected.tobytes()
    elif expected.dtype.kind == "f":
        signed = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[signed], np.signbit(expected)[signed])


@given(st.dictionaries(NAMES, WITH_COMPLEX, min_size=1, max_size=3), st.booleans())
@pytest.mark.parametrize("encoding", ["raw", "base64"])
def test_bytes_are_exact_to_the_bit(encoding, arrays, known):
    body = payloads.tensor_body(arrays, encoding, "infer")
    assert all(text.isascii() and "\n" not in text for text in body.headers.values())
    found = answered(body, specs(arrays, known))
    for name, array in arrays.items():
        same(found[name], array)


@given(st.dictionaries(NAMES, st.one_of(FINITE_OR_NOT, TEXTS), min_size=1, max_size=3))
@example({"x": np.array([math.nan, math.inf, -math.inf, -0.0])})
@example({"x": np.array([2**64 - 1, 0], np.uint64), "y": np.array(-(2**63))})
@example({"x": np.finfo(np.float32).smallest_subnormal.reshape(())})
def test_json_gives_every_value_back(arrays):
    body = payloads.tensor_body(arrays, "json", "infer")
    json.loads(body.content, parse_constant=pytest.fail)  # no bare NaN: that is not JSON
    for name, array in answered(body, specs(arrays)).items():
        same(array, arrays[name], bits=False)


@given(FINITE_OR_NOT)
@pytest.mark.parametrize("encoding", ["json", "base64", "raw"])
def test_embed_carries_one_tensor(encoding, array):
    arrays = {"x": array}
    found = answered(payloads.tensor_body(arrays, encoding, "embed"), specs(arrays), "embed")
    same(found["x"], array, bits=False)


@given(FINITE_OR_NOT)
def test_lists_in_lists_and_bare_words_are_read_too(array):
    content = json.dumps({"outputs": {"x": array.tolist()}}).encode()
    headers = {"Content-Type": "application/json"}
    found = payloads.read_answer(content, headers, specs({"x": array}), "infer", 0).arrays["x"]
    if array.size:
        same(found, array, bits=False)
    else:
        assert found.size == 0


@given(drawn.arrays("float32", st.tuples(st.integers(0, 4), st.integers(1, 4))), st.randoms())
@pytest.mark.parametrize("as_bytes", [False, True])
def test_openai_vectors_come_in_any_order(as_bytes, array, random):
    def written(row):
        return base64.b64encode(row.astype("<f4").tobytes()).decode() if as_bytes else row.tolist()

    data = [{"index": index, "embedding": written(row)} for index, row in enumerate(array)]
    random.shuffle(data)
    content = json.dumps({"object": "list", "data": data}).encode()
    outputs = [TensorSpec("e", "float32", ("batch", array.shape[1]))]
    headers = {"Content-Type": "application/json"}
    found = payloads.read_answer(content, headers, outputs, "openai", len(array)).arrays["e"]
    same(found, array, bits=False)
    with pytest.raises(UnreadableError, match="numbered"):
        payloads.read_answer(content, headers, outputs, "openai", len(array) + 1)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["shape", "data", "base64", "dtype", "x", "index", "embedding"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["infer", "embed", "openai"]),
    st.sampled_from([*REALS, "complex64", "string"]),
    st.sampled_from([None, (), (2,), ("n", -1), (0, "n", 3)]),
    JSON_VALUES,
)
def test_whatever_json_says_is_an_array_as_declared_or_unreadable(style, dtype, shape, value):
    key = {"infer": "outputs", "embed": "embedding", "openai": "data"}[style]
    listed = value if style != "openai" else [value]
    inner = {"x": value} if style == "infer" else listed
    content = json.dumps({key: inner, "server_ms": value}).encode()
    spec = TensorSpec("x", dtype, shape)
    headers = {"Content-Type": "application/json"}
    try:
        found = payloads.read_answer(content, headers, [spec], style, 1).arrays["x"]
    except UnreadableError:
        return
    assert dtype_of(found) == dtype
    if shape is not None:
        assert found.ndim == len(shape)


@given(st.binary(max_size=40), st.one_of(st.none(), st.text(max_size=20), JSON_VALUES))
def test_whatever_bytes_say_is_an_array_or_unreadable(content, described):
    headers = {"Content-Type": "application/octet-stream"}
    if described is not None:
        named = [{"name": "x", "dtype": "int16", "shape": described}]
        headers["X-Tensors"] = described if isinstance(described, str) else json.dumps(named)
    spec = TensorSpec("x", "int16", None if described else ("n", 2))
    try:
        found = payloads.read_answer(content, headers, [spec], "infer", 0).arrays["x"]
    except UnreadableError:
        return
    assert found.tobytes() == content


def test_without_a_header_one_unknown_dimension_is_found():
    headers = {"Content-Type": "application/octet-stream"}
    content = np.arange(12, dtype="<f4").tobytes()

    def read(*shape):
        outputs = [TensorSpec("y", "float32", shape)]
        return payloads.read_answer(content, headers, outputs, "infer", 0).arrays["y"].shape

    assert read("n", 3) == (4, 3)
    assert read(3, -1, 2) == (3, 2, 2)
    assert read(12) == (12,)
    for shape in (("n", "m"), ("n", 5), (13,), (0, "n"), ()):
        with pytest.raises(UnreadableError):
            read(*shape)


@pytest.mark.parametrize(
    ("array", "encoding"),
    [
        (np.array([object()]), "json"),
        (np.array([1j]), "json"),
        (np.array(["a"], object), "raw"),
        (np.array([1], "M8[s]"), "base64"),
        (np.array([1], np.longdouble), "raw"),
        (np.array([1], np.longdouble), "json"),
    ],
)
def test_what_has_no_place_on_the_wire_is_refused(array, encoding):
    with pytest.raises(InferbenchError) as caught:
        payloads.tensor_body({"x": array}, encoding, "infer")
    assert caught.value.code == "IB-389"
    assert caught.value.hint


def test_a_style_of_one_input_refuses_two():
    two = {"a": np.ones(1), "b": np.ones(1)}
    for call in (
        lambda: payloads.tensor_body(two, "json", "embed"),
        lambda: payloads.image_body(two, ImageForm()),
        lambda: payloads.openai_body(two, "m", "float"),
    ):
        with pytest.raises(InferbenchError, match="holds one input, and there are 2") as caught:
            call()
        assert caught.value.code == "IB-389"


def test_openai_takes_text_and_tokens_alone():
    def asked(array):
        return json.loads(payloads.openai_body({"x": array}, "m", "float").content)["input"]

    assert asked(np.array(["a", "b"], object)) == ["a", "b"]
    assert asked(np.array("a", object)) == "a"
    assert asked(np.array([[1, 2]])) == [[1, 2]]
    for wrong in (np.ones(2, np.float32), np.array([b"a"], object), np.ones((1, 1, 1), int)):
        with pytest.raises(InferbenchError, match="neither texts nor tokens"):
            asked(wrong)


@given(
    drawn.arrays(
        "uint8",
        st.tuples(*[st.integers(1, 6)] * 2, st.integers(1, 4)),
    )
)
def test_a_png_is_what_another_reads(pixels):
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(png(pixels)))
    assert image.mode == ["L", "LA", "RGB", "RGBA"][pixels.shape[2] - 1]
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@given(
    drawn.arrays("uint8", st.tuples(st.integers(0, 2), st.just(3), *[st.integers(1, 5)] * 2)),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_floats_of_0_to_1_are_sent_as_the_pixels_they_were(pixels, dtype):
    form = ImageForm(scale=255, layout="nchw")
    files = encode_images("x", (pixels / 255).astype(dtype), form)
    assert files == [png(each.transpose(1, 2, 0)) for each in pixels]


@pytest.mark.parametrize(
    ("array", "form", "says"),
    [
        (np.full((2, 2, 3), 0.5, np.float32), ImageForm(), "not all whole numbers"),
        (np.full((2, 2, 3), 256), ImageForm(), "not all whole numbers"),
        (np.full((2, 2, 3), np.nan), ImageForm(), "not all whole numbers"),
        (np.ones((3, 2, 2), np.uint8), ImageForm(format="jpeg"), "channels"),
        (np.ones((2, 2, 5), np.uint8), ImageForm(), "channels"),
        (np.ones((0, 2, 3), np.uint8), ImageForm(), "channels"),
        (np.ones(2, np.uint8), ImageForm(), "rank"),
        (np.array([["a"]]), ImageForm(), "numbers"),
    ],
)
def test_what_is_no_image_is_not_rounded_into_one(array, form, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        encode_images("x", array, form)
    assert caught.value.code == "IB-389"


def test_names_of_what_is_not_finite_are_those_of_the_docs():
    assert set(NOT_FINITE) == {"NaN", "Infinity", "-Infinity"}
