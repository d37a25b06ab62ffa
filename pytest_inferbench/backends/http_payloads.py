"""Bodies of requests and answers: takes arrays, gives bytes, and back; knows no connection.

The wire formats are those of docs/http-service.md, which says every one of them in full. What
cannot be sent is an `InferbenchError`; what an answer gets wrong is `UnreadableError`, to which the
adapter adds who answered.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.http_images import ImageForm, encode_images
from pytest_inferbench.backends.http_tensors import (
    UnreadableError,
    cannot_send,
    check_shape,
    from_bytes,
    from_json,
    kept_in,
    to_base64,
    to_bytes,
    to_json,
    wire_dtype,
)

JSON = "application/json"
BYTES = "application/octet-stream"
TENSORS = "X-Tensors"
TIME_FIELDS = ("server_ms", "timing_ms")

Arrays = Mapping[str, Array]


class Body(NamedTuple):
    """A request's body, and the headers that describe it."""

    content: bytes
    headers: dict[str, str]


class Reading(NamedTuple):
    """What an answer holds: outputs by name, and the server's own time where the body tells it."""

    arrays: dict[str, Array]
    server_ms: float | None = None


def tensor_body(inputs: Arrays, encoding: str, style: str) -> Body:
    """Return inputs as "json" or "base64" tensors, or as "raw" bytes with a describing header."""
    if encoding == "raw":
        described = [
            {"name": name, "dtype": wire_dtype(name, array.dtype), "shape": list(array.shape)}
            for name, array in inputs.items()
        ]
        content = b"".join(to_bytes(name, array) for name, array in inputs.items())
        headers = {"Content-Type": BYTES, "Accept": BYTES, TENSORS: json.dumps(described)}
        return Body(content, headers)
    write = to_base64 if encoding == "base64" else to_json
    tensors = {name: write(name, array) for name, array in inputs.items()}
    if style == "infer":
        return _json_body({"inputs": tensors})
    return _json_body({"input": tensors[_only(inputs, "an embed request")]})


def image_body(inputs: Arrays, form: ImageForm) -> Body:
    """Return the only input as image files in base64: ``image``, or ``images`` for a batch."""
    name = _only(inputs, "a request with images")
    files = [base64.b64encode(file).decode() for file in encode_images(name, inputs[name], form)]
    batch = inputs[name].ndim == 4
    images = {"images": files} if batch else {"image": files[0]}
    return _json_body({"format": form.format, **images})


def openai_body(inputs: Arrays, model: str, encoding_format: str) -> Body:
    """Return an OpenAI embeddings request: texts, or lists of tokens."""
    name = _only(inputs, "an OpenAI embeddings request")
    array = inputs[name]
    tokens = array.dtype.kind in "iu" and array.ndim in {1, 2}
    flat = array.reshape(-1).tolist() if array.dtype.kind in "OU" else [None]
    texts = array.ndim < 2 and all(type(each) is str for each in flat)
    if not (tokens or texts):
        raise cannot_send(
            f"input {name!r} ({array.dtype} of shape {array.shape}) is neither texts nor tokens",
            "Give text of rank 0 or 1, or integer tokens of rank 1 or 2.",
        )
    fields = {"model": model, "input": array.tolist(), "encoding_format": encoding_format}
    return _json_body(fields)


def read_answer(
    content: bytes, headers: Mapping[str, str], outputs: Sequence[TensorSpec], style: str, rows: int
) -> Reading:
    """Return every declared output.

    Args:
        content: The whole body.
        headers: The answer's headers, found in any case.
        outputs: What was declared.
        style: "infer", "embed" or "openai".
        rows: How many vectors an answer of "openai" must hold.

    Raises:
        UnreadableError: It is not what docs/http-service.md says, or not what was declared.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == BYTES and style != "openai":
        reading = Reading(_from_raw(content, headers.get(TENSORS), outputs))
    elif kind == JSON or kind.endswith("+json"):
        fields = _object(content)
        by_style = {"infer": _from_outputs, "embed": _from_embedding}
        if style == "openai":
            arrays = _from_openai(fields, outputs, rows)
        else:
            arrays = by_style[style](fields, outputs)
        reading = Reading(arrays, _server_ms(fields))
    else:
        wanted = JSON if style == "openai" else f"{JSON} or {BYTES}"
        raise UnreadableError(f"its content type is {kind or 'missing'!r}, not {wanted}")
    for spec in outputs:
        check_shape(spec, reading.arrays[spec.name].shape)
    return reading


def rows_of(array: Array) -> int:
    """Return how many vectors an OpenAI service must answer this input with."""
    single = array.ndim == 0 or (array.ndim == 1 and array.dtype.kind in "iu")
    return 1 if single else int(array.shape[0])


def _json_body(fields: Mapping[str, Any]) -> Body:
    content = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    return Body(content, {"Content-Type": JSON, "Accept": JSON})


def _only(inputs: Arrays, what: str) -> str:
    if len(inputs) != 1:
        raise cannot_send(
            f"{what} holds one input, and there are {len(inputs)}: {', '.join(sorted(inputs))}",
            "Use the style 'infer' with the encoding json, base64 or raw.",
        )
    return next(iter(inputs))


def _object(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UnreadableError(f"it is a JSON {type(fields).__name__}, not an object")
    return fields


def _server_ms(fields: Mapping[str, Any]) -> float | None:
    for key in TIME_FIELDS:
        value = fields.get(key)
        if isinstance(value, int | float) and 0 <= value < sys.float_info.max:
            return float(value)
    return None


def _names_must_match(names: Sequence[str], outputs: Sequence[TensorSpec]) -> None:
    declared = {spec.name for spec in outputs}
    missing, unknown = sorted(declared - set(names)), sorted(set(names) - declared)
    if missing or unknown or len(names) != len(declared):
        parts = [f"{word} {text}" for word, text in (("lacks", missing), ("adds", unknown)) if text]
        raise UnreadableError(f"it {' and '.join(parts) or 'repeats a name'} among its outputs")


def _from_outputs(fields: Mapping[str, Any], outputs: Sequence[TensorSpec]) -> dict[str, Array]:
    tensors = fields.get("outputs")
    if not isinstance(tensors, dict):
        raise UnreadableError("it has no object 'outputs'")
    _names_must_match(list(tensors), outputs)
    return {spec.name: from_json(tensors[spec.name], spec) for spec in outputs}


def _from_embedding(fields: Mapping[str, Any], outputs: Sequence[TensorSpec]) -> dict[str, Array]:
    (spec,) = outputs
    if "embeddings" in fields:
        return {spec.name: from_json(fields["embeddings"], spec)}
    if "embedding" not in fields:
        raise UnreadableError("it has neither 'embedding' nor 'embeddings'")
    array = from_json(fields["embedding"], spec)
    if array.ndim == 1 and spec.shape is not None and len(spec.shape) == 2:
        array = array[None]  # a service that answers one input with one vector
    return {spec.name: array}


def _from_openai(
    fields: Mapping[str, Any], outputs: Sequence[TensorSpec], rows: int
) -> dict[str, Array]:
    (spec,) = outputs
    data = fields.get("data")
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise UnreadableError("it has no list of objects 'data'")
    indices = [each.get("index", place) for place, each in enumerate(data)]
    if not all(type(index) is int for index in indices) or sorted(indices) != list(range(rows)):
        raise UnreadableError(
            f"it has {len(data)} vectors numbered {indices[:20]}, not 0 to {rows - 1}"
        )
    vectors = [
        _vector(each.get("embedding"), spec)
        for _, each in sorted(zip(indices, data, strict=True), key=lambda pair: pair[0])
    ]
    if len({vector.size for vector in vectors}) > 1:
        raise UnreadableError("its vectors differ in length")
    width = spec.shape[-1] if spec.shape else 0
    known = vectors[0].size if vectors else width if isinstance(width, int) and width > 0 else 0
    stacked = np.stack(vectors) if vectors else np.empty((0, known), kept_in(spec))
    return {spec.name: stacked}


def _vector(value: Any, spec: TensorSpec) -> Array:
    if isinstance(value, str):
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnreadableError(f"an embedding is not base64: {error}") from error
        if len(content) % 4:
            raise UnreadableError(f"an embedding of {len(content)} bytes is not float32")
        return np.frombuffer(content, "<f4").astype(kept_in(spec))
    array = from_json(value, spec) if isinstance(value, list) else None
    if array is None or array.ndim != 1:
        raise UnreadableError("an embedding is neither a list of numbers nor base64")
    return array


def _from_raw(
    content: bytes, described: str | None, outputs: Sequence[TensorSpec]
) -> dict[str, Array]:
    if described is None:
        if len(outputs) != 1:
            raise UnreadableError(
                f"it has no {TENSORS} header, and {len(outputs)} outputs are declared"
            )
        (spec,) = outputs
        return {spec.name: from_bytes(content, spec, None)}
    try:
        listed = json.loads(described)
        parts = [(each["name"], each["dtype"], each["shape"]) for each in listed]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableError(
            f"its {TENSORS} header cannot be read: {described[:200]!r}"
        ) from error
    _names_must_match([str(name) for name, _, _ in parts], outputs)
    specs = {spec.name: spec for spec in outputs}
    arrays: dict[str, Array] = {}
    offset = 0
    for name, dtype, shape in parts:
        spec = specs[name]
        if dtype != wire_dtype(name, kept_in(spec)):
            raise UnreadableError(f"output {name!r} is {dtype}, not {spec.dtype}")
        size = _product(name, shape) * kept_in(spec).itemsize
        arrays[name] = from_bytes(content[offset : offset + size], spec, shape)
        offset += size
    if offset != len(content):
        raise UnreadableError(
            f"it has {len(content)} bytes, and its {TENSORS} header says {offset}"
        )
    return arrays


def _product(name: str, shape: Any) -> int:
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise UnreadableError(f"output {name!r} has no proper shape: {shape!r}")
    return math.prod(shape)
