"""One tensor on the wire: takes an array, gives JSON values or bytes, and back; nothing else.

Bytes are exact. In JSON each number is written so that it reads back as the same value, and what
JSON has no number for stands as the text "NaN", "Infinity" or "-Infinity"; the bare words that
Python writes for them are read too. The dtype is always the declared one: JSON has none of its own.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import CARRIERS, Array, TensorSpec
from pytest_inferbench.errors import InferbenchError

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_COMPLEX = frozenset({"complex64", "complex128"})


class UnreadableError(ValueError):
    """An answer that does not say what it must."""


def cannot_send(message: str, hint: str) -> InferbenchError:
    """Return the error for inputs that have no place in a request."""
    return InferbenchError("IB-389", message, hint)


def kept_in(spec: TensorSpec) -> np.dtype[Any]:
    """Return the dtype of the arrays of an input or output; text is numpy's own."""
    return np.dtype(CARRIERS.get(spec.dtype, spec.dtype))


def as_text(name: str, array: Array) -> Array:
    """Return text that came as bytes as text, and anything else as it is.

    Raises:
        InferbenchError: It is no UTF-8 (IB-389).
    """
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise cannot_send(f"tensor {name!r} holds bytes that are no UTF-8", str(error)) from error


def wire_dtype(name: str, dtype: np.dtype[Any]) -> str:
    """Return a dtype's name in bytes.

    Raises:
        InferbenchError: It has no fixed size that both sides know (IB-389).
    """
    if dtype.name not in _NUMBERS | _COMPLEX:
        raise cannot_send(
            f"tensor {name!r} is {dtype}, which is not sent as bytes",
            "Bytes carry bool, integers, float16 to float64 and complex; JSON carries text.",
        )
    return str(dtype.name)


def to_bytes(name: str, array: Array) -> bytes:
    """Return the elements in C order, little-endian."""
    wire_dtype(name, array.dtype)
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()


def to_base64(name: str, array: Array) -> dict[str, Any]:
    """Return a JSON tensor whose elements are bytes in base64."""
    content = base64.b64encode(to_bytes(name, array)).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": content}


def to_json(name: str, array: Array) -> dict[str, Any]:
    """Return a JSON tensor whose elements are a flat list, in C order."""
    flat: list[Any] = array.reshape(-1).tolist()
    if array.dtype.kind in "OU":
        if not all(type(text) is str for text in flat):
            raise cannot_send(f"tensor {name!r} holds objects other than text", "Send text alone.")
        return {"dtype": "str", "shape": list(array.shape), "data": flat}
    if array.dtype.name not in _NUMBERS:
        raise cannot_send(
            f"tensor {name!r} is {array.dtype}, which JSON has no numbers for",
            'Complex numbers travel with encoding = "raw" or "base64".',
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        flat = [value if math.isfinite(value) else _name_of(value) for value in flat]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": flat}


def from_json(value: Any, spec: TensorSpec) -> Array:
    """Return the array of a JSON tensor, or of lists in lists, with the declared dtype.

    Raises:
        UnreadableError: It is none, or not of the declared dtype.
    """
    if not isinstance(value, dict):
        return _from_lists(value, spec, None)
    declared = "str" if spec.dtype == "string" else kept_in(spec).name
    if value.get("dtype", declared) != declared:
        raise UnreadableError(f"output {spec.name!r} is {value['dtype']!r}, not {declared}")
    shape = value.get("shape")
    if "base64" in value:
        try:
            content = base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise UnreadableError(f"output {spec.name!r} is not base64: {error}") from error
        return from_bytes(content, spec, shape)
    if "data" not in value:
        raise UnreadableError(f"output {spec.name!r} has neither 'data' nor 'base64'")
    return _from_lists(value["data"], spec, shape)


def from_bytes(content: bytes, spec: TensorSpec, shape: Any) -> Array:
    """Return the array of little-endian bytes; without a shape, of the declared one."""
    dtype = kept_in(spec)
    if dtype.name not in _NUMBERS | _COMPLEX:
        raise UnreadableError(f"output {spec.name!r} is {dtype}, which is not sent as bytes")
    if len(content) % dtype.itemsize:
        raise UnreadableError(f"output {spec.name!r} has {len(content)} bytes, which is no {dtype}")
    count = len(content) // dtype.itemsize
    sizes = _declared_shape(spec, count) if shape is None else shape
    _must_hold(spec, sizes, count)
    if dtype == np.bool_ and content.translate(None, b"\0\1"):
        raise UnreadableError(f"output {spec.name!r} has bytes that are neither 0 nor 1")
    flat = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False)
    return _shaped(flat, spec, sizes)


def check_shape(spec: TensorSpec, shape: Sequence[int]) -> None:
    """Refuse a shape that is not the declared one.

    Raises:
        UnreadableError: The rank differs, or a dimension that is declared as a number.
    """
    if spec.shape is None:
        return
    pairs = zip(spec.shape, shape, strict=False)
    wrong = any(isinstance(want, int) and want >= 0 and want != got for want, got in pairs)
    if wrong or len(spec.shape) != len(shape):
        raise UnreadableError(f"output {spec.name!r} has shape {list(shape)}; declared: {spec}")


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _from_lists(value: Any, spec: TensorSpec, shape: Any) -> Array:
    flat, nested = _flatten(value, spec)
    array = _typed(flat, spec)
    if shape is not None:
        _must_hold(spec, shape, len(flat))
        if len(nested) > 1 and nested != shape:
            raise UnreadableError(f"output {spec.name!r} is nested as {nested}, and says {shape}")
        return _shaped(array, spec, shape)
    if not flat and spec.shape is not None and len(spec.shape) != len(nested):
        return _shaped(
            array, spec, _declared_shape(spec, 0)
        )  # [] says nothing of the other dimensions
    return _shaped(array, spec, nested)


def _flatten(value: Any, spec: TensorSpec) -> tuple[list[Any], list[int]]:
    """Return the elements of lists in lists, and their shape."""
    flat, shape = [value], list[int]()
    while flat and isinstance(flat[0], list):
        lengths = {len(each) if isinstance(each, list) else -1 for each in flat}
        if len(lengths) > 1:
            raise UnreadableError(f"output {spec.name!r} is ragged: its lists differ in length")
        shape += lengths
        flat = list(itertools.chain.from_iterable(flat))
    return flat, shape


def _typed(flat: list[Any], spec: TensorSpec) -> Array:
    dtype = kept_in(spec)
    if spec.dtype == "string":
        # As wide as the longest: a frame of a worker's carries no objects.
        return np.array(_of_types(flat, spec, {str}, np.dtype(object)).tolist(), dtype)
    if dtype.kind == "b":
        return _of_types(flat, spec, {bool}, dtype)
    if dtype.kind == "f":
        if str in set(map(type, flat)):
            flat = [NOT_FINITE.get(v, v) if type(v) is str else v for v in flat]
        wide = _of_types(flat, spec, {int, float}, np.dtype(np.float64))
        with np.errstate(over="ignore"):
            array = wide.astype(dtype)
        if (np.isinf(array) & np.isfinite(wide)).any():
            raise UnreadableError(f"output {spec.name!r} has numbers beyond {dtype}")
        return array
    if dtype.kind not in "iu":
        raise UnreadableError(f"output {spec.name!r} is {dtype}, which JSON has no numbers for")
    if float in set(map(type, flat)):  # JSON knows no integers: 1.0 is one, 1.5 is not
        flat = [int(v) if type(v) is float and v.is_integer() else v for v in flat]
    limits = np.iinfo(dtype)
    all_int = set(map(type, flat)) == {int}
    if all_int and not limits.min <= min(flat) <= max(flat) <= limits.max:
        raise UnreadableError(f"output {spec.name!r} has numbers beyond {dtype}")
    return _of_types(flat, spec, {int}, dtype)


def _of_types(flat: list[Any], spec: TensorSpec, types: set[type], dtype: np.dtype[Any]) -> Array:
    wrong = sorted(
        "null" if each is type(None) else each.__name__ for each in {*map(type, flat)} - types
    )
    if wrong:
        raise UnreadableError(f"output {spec.name!r} is {spec.dtype}, and holds {', '.join(wrong)}")
    array = np.empty(len(flat), dtype)
    try:
        array[:] = flat
    except OverflowError as error:
        raise UnreadableError(f"output {spec.name!r} has numbers beyond {dtype}") from error
    return array


def _must_hold(spec: TensorSpec, shape: Any, count: int) -> None:
    proper = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not proper or math.prod(shape) != count:
        raise UnreadableError(
            f"output {spec.name!r} has {count} elements, and its shape is {shape!r}"
        )


def _shaped(flat: Array, spec: TensorSpec, shape: list[int]) -> Array:
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:  # no elements, and dimensions past all bounds
        raise UnreadableError(f"output {spec.name!r} cannot have the shape {shape}") from error


def _declared_shape(spec: TensorSpec, count: int) -> list[int]:
    """Return the declared shape, whose one unknown dimension the count tells."""
    declared = [n if isinstance(n, int) and n >= 0 else -1 for n in spec.shape or ()]
    known = math.prod(n for n in declared if n >= 0)
    if spec.shape is None or declared.count(-1) > 1 or (-1 in declared and not known):
        raise UnreadableError(f"output {spec.name!r} comes without a shape; declared: {spec}")
    return [count // known if n < 0 else n for n in declared]
