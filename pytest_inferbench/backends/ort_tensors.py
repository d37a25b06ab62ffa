"""Tensors between numpy and ONNX Runtime: takes arrays, gives what a session is fed, and back.

What numpy has no dtype for travels in a carrier (see `contract.CARRIERS`): bfloat16 as uint16,
float8 as uint8, four-bit integers as one int8 or uint8 a value, text as numpy's own text.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import CARRIERS, Array, TensorSpec
from pytest_inferbench.errors import InferbenchError

_NAMES = {
    "float": "float32",
    "double": "float64",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
}
# The numbers of TensorProto.DataType, for a runtime that is told types by number.
_RAW = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
}
_PACKED = {"uint4": 21, "int4": 22}  # two values a byte, the first in the low half


def specs(arguments: Sequence[Any], kind: str) -> tuple[TensorSpec, ...]:
    """Return what a session declares.

    Raises:
        InferbenchError: One is not a tensor (IB-330).
    """
    return tuple(TensorSpec(each.name, _dtype(each, kind), _shape(each)) for each in arguments)


def is_plain(spec: TensorSpec) -> bool:
    """Whether numpy has the dtype itself, and a session takes and gives such arrays."""
    return spec.dtype not in CARRIERS


def fed(ort: Any, spec: TensorSpec, array: Array) -> Any:
    """Return what a session is fed: the array itself, or a value that owns a reference to it.

    Raises:
        InferbenchError: This runtime cannot be given the type, or it lacks the values (IB-334).
    """
    if spec.dtype == "string":
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        return array.astype(object)
    number = _RAW.get(spec.dtype) or _PACKED.get(spec.dtype)
    if number is None:
        return array
    make = getattr(ort.OrtValue, "ortvalue_from_numpy_with_onnx_type", None)
    if make is None:
        raise InferbenchError(
            "IB-334",
            f"input {spec.name!r} is {spec.dtype}, which ONNX Runtime {ort.__version__} cannot be"
            " given from Python",
            "ONNX Runtime 1.20 and newer can.",
        )
    return make(_packed(spec, array) if spec.dtype in _PACKED else array, number)


def fetched(spec: TensorSpec, value: Any) -> Array:
    """Return an output in its carrier; `value` is an array, or an `OrtValue` on the CPU."""
    if spec.dtype == "string":
        # Not `astype(str)`: that keeps the width of an empty text, which is none.
        return np.asarray(value if isinstance(value, np.ndarray) else value.numpy(), dtype=np.str_)
    if isinstance(value, np.ndarray):
        return value
    if is_plain(spec):
        array: Array = value.numpy()
        return array
    carrier = np.dtype(CARRIERS[spec.dtype])
    shape = tuple(value.shape())
    count = math.prod(shape)
    size = (count + 1) // 2 if spec.dtype in _PACKED else count * carrier.itemsize
    data = ctypes.string_at(value.data_ptr(), size) if size else b""
    if spec.dtype in _PACKED:
        return _unpacked(np.frombuffer(data, np.uint8), count, carrier).reshape(shape)
    return np.frombuffer(data, carrier).reshape(shape)


def _packed(spec: TensorSpec, array: Array) -> Array:
    """Return an array of the same shape whose first half holds the values, two a byte."""
    low, high = (-8, 7) if spec.dtype == "int4" else (0, 15)
    if array.size and not (low <= array.min() and array.max() <= high):
        raise InferbenchError(
            "IB-334", f"input {spec.name!r} is {spec.dtype}, and has values beyond {low} to {high}"
        )
    nibbles = np.zeros(array.size + array.size % 2, np.uint8)
    nibbles[: array.size] = array.reshape(-1).astype(np.uint8) & 0xF
    packed = np.zeros(array.shape, np.uint8)
    packed.reshape(-1)[: nibbles.size // 2] = nibbles[::2] | nibbles[1::2] << 4
    return packed


def _unpacked(data: Array, count: int, carrier: np.dtype[Any]) -> Array:
    nibbles = np.stack([data & 0xF, data >> 4], axis=1).reshape(-1)[:count]
    if carrier == np.int8:
        return (nibbles.astype(np.int8) ^ 8) - np.int8(8)  # bit 3 is the sign
    return nibbles.astype(carrier)


def _dtype(argument: Any, kind: str) -> str:
    declared: str = argument.type
    name = declared[len("tensor(") : -1]
    name = _NAMES.get(name, name)
    if not declared.startswith("tensor(") or not _is_known(name):
        raise InferbenchError(
            "IB-330",
            f"{kind} {argument.name!r} is {declared}, and only tensors that numpy or a carrier"
            " can hold are run",
            "Export the model with tensors as its inputs and outputs.",
        )
    return name


def _is_known(name: str) -> bool:
    if name in CARRIERS:
        return True
    try:
        return np.dtype(name).kind in "biuf"
    except TypeError:
        return False


def _shape(argument: Any) -> tuple[int | str, ...] | None:
    # The runtime says [] of a scalar and of an unknown rank alike.
    return tuple(-1 if d is None else d for d in argument.shape) or None
