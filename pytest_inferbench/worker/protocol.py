"""Frames of bytes, and back: takes fields and arrays, gives one message; knows no transport.

A frame is ``u32 header length | JSON header | raw C-order array buffers``, little-endian, every
buffer aligned to 64 bytes. No pickle: a frame cannot run code, and whatever does not fit the
description is an `InferbenchError`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

_LENGTH = struct.Struct("<I")
_ALIGNMENT = 64
_KINDS = "biufcSUmM"  # every fixed-size dtype of numpy itself; not object, not void, not ml_dtypes


def encode(fields: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> bytes:
    """Return one frame.

    Args:
        fields: Plain JSON types and numpy scalars; NaN and infinities are kept.
        arrays: Arrays of any fixed-size numpy dtype and any memory layout.

    Raises:
        InferbenchError: A field or an array cannot be sent (IB-310).
    """
    described: list[tuple[str, str, tuple[int, ...]]] = []
    buffers: list[Array] = []
    for name, value in (arrays or {}).items():
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS or array.dtype.itemsize == 0:
            raise InferbenchError(
                "IB-310",
                f"array {name!r} has dtype {array.dtype}, which cannot be sent",
                "Convert it to a numpy dtype, or view bfloat16 as uint16 and float8 as uint8.",
            )
        described.append((name, array.dtype.str, array.shape))
        buffers.append(np.ascontiguousarray(array))
    try:
        header = json.dumps({"fields": fields, "arrays": described}, default=_scalar).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InferbenchError(
            "IB-310", f"the fields cannot be sent: {error}", "Send numbers, text, lists and dicts."
        ) from error
    header += b" " * _padding(_LENGTH.size + len(header))
    parts: list[Any] = [_LENGTH.pack(len(header)), header]
    for buffer in buffers:
        parts += [buffer.reshape(-1).view(np.uint8), bytes(_padding(buffer.nbytes))]
    return b"".join(parts)


def decode(frame: bytes | bytearray | memoryview) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a frame's fields and arrays; the arrays are views, writable if the frame is.

    Raises:
        InferbenchError: The frame is malformed (IB-310).
    """
    view = memoryview(frame).cast("B")
    try:
        (length,) = _LENGTH.unpack_from(view)
        offset = _LENGTH.size + length
        if offset > len(view):
            raise ValueError(f"the header needs {offset} bytes")
        header = json.loads(bytes(view[_LENGTH.size : offset]))
        fields, described = header["fields"], header["arrays"]
        if not isinstance(fields, dict):
            raise TypeError("fields are not an object")
        arrays: dict[str, Array] = {}
        for name, dtype_text, shape in described:
            arrays[str(name)] = array = _view(view, offset, dtype_text, shape)
            offset += array.nbytes + _padding(array.nbytes)
        if offset != len(view):
            raise ValueError(f"the header describes {offset} bytes")
    except (struct.error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise InferbenchError(
            "IB-310", f"a malformed frame of {len(view)} bytes: {type(error).__name__}: {error}"
        ) from error
    return fields, arrays


def pack_samples(samples: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return several sets of inputs as one mapping: ``index/name`` to array."""
    return {f"{i}/{name}": array for i, each in enumerate(samples) for name, array in each.items()}


def unpack_samples(arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Return the sets of inputs that `pack_samples` packed, in order.

    Raises:
        InferbenchError: A name has no index (IB-310).
    """
    samples: dict[int, dict[str, Array]] = {}
    for key, array in arrays.items():
        index, slash, name = key.partition("/")
        if not slash or not index.isdecimal():
            raise InferbenchError("IB-310", f"{key!r} is not `index/name`", "Use pack_samples.")
        samples.setdefault(int(index), {})[name] = array
    return [samples[index] for index in sorted(samples)]


def _view(view: memoryview, offset: int, dtype_text: Any, shape: Any) -> Array:
    if not isinstance(dtype_text, str) or not isinstance(shape, list):
        raise TypeError("an array is not described by a dtype and a shape")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"shape {shape}")
    dtype = np.dtype(dtype_text)
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"dtype {dtype}")
    end = offset + math.prod(shape) * dtype.itemsize
    if end > len(view):
        raise ValueError(f"an array needs {end} bytes")
    array: Array = np.ndarray(tuple(shape), dtype, buffer=view[offset:end])
    return array


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def _scalar(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")
