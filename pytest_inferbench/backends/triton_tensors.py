"""Tensors as a Triton server takes them: takes arrays and specs, gives bytes and shapes, and back.

Pure: knows neither connections nor shared memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.http_tensors import (
    UnreadableError,
    cannot_send,
    check_shape,
    from_bytes,
    to_bytes,
)
from pytest_inferbench.serving.datatypes import PROTOCOL

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Region:
    """A part of shared memory, as the server knows it.

    Attributes:
        name: What it was registered as.
        offset: Where in it.
        size: How many bytes.
    """

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Tensor:
    """One input as it is sent: described, with its bytes or where they are.

    Attributes:
        name: The input's.
        datatype: As the protocol names it.
        shape: As the server counts it: a scalar has one element.
        content: Its bytes, or the shared memory that holds them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | Region


def to_tensors(
    inputs: Mapping[str, Array], specs: Sequence[TensorSpec], *, is_batched: bool
) -> list[Tensor]:
    """Return inputs in the order in which they are declared."""
    return [
        Tensor(
            spec.name,
            PROTOCOL[spec.dtype],
            sent_shape(inputs[spec.name].shape, is_batched=is_batched),
            encode(spec.name, inputs[spec.name]),
        )
        for spec in specs
    ]


def sent_shape(shape: Sequence[Any], *, is_batched: bool) -> tuple[Any, ...]:
    """Return a shape as the server counts it: what has no dimension beside the batch has one."""
    return (*shape, 1) if len(shape) == int(is_batched) else tuple(shape)


def encode(name: str, array: Array) -> bytes:
    """Return an array's bytes: text as lengths and UTF-8, anything else little-endian."""
    if array.dtype.kind not in "SUO":
        return to_bytes(name, array)
    parts = []
    for each in array.reshape(-1).tolist():
        if not isinstance(each, (str, bytes)):
            raise cannot_send(f"tensor {name!r} holds objects other than text", "Send text alone.")
        content = each.encode() if isinstance(each, str) else each
        parts += [_LENGTH.pack(len(content)), content]
    return b"".join(parts)


def decode(content: bytes, spec: TensorSpec, shape: Sequence[int], datatype: str) -> Array:
    """Return an output's array, in its declared type and rank.

    Raises:
        UnreadableError: It is not as declared, or its bytes are not as many as its shape says.
    """
    if datatype != PROTOCOL.get(spec.dtype):
        raise UnreadableError(f"output {spec.name!r} is {datatype}, not {spec.dtype}")
    counted = declared_shape(spec, shape)
    check_shape(spec, counted)
    if spec.dtype != "string":
        return from_bytes(content, spec, counted)
    return np.array(_texts(content, spec, math.prod(counted)), dtype=np.str_).reshape(counted)


def declared_shape(spec: TensorSpec, shape: Sequence[int]) -> list[int]:
    """Return a shape with the declared rank: without the dimension that `sent_shape` added."""
    found = [int(n) for n in shape]
    if spec.shape is not None and len(found) == len(spec.shape) + 1 and found[-1:] == [1]:
        found.pop()
    return found


def described(spec: TensorSpec) -> dict[str, Any]:
    """Return how a request asks for an output as bytes."""
    return {"name": spec.name, "parameters": {"binary_data": True}}


def _texts(content: bytes, spec: TensorSpec, count: int) -> list[str]:
    texts, at = [], 0
    try:
        while at < len(content):
            (size,) = _LENGTH.unpack_from(content, at)
            at += _LENGTH.size + size
            texts.append(content[at - size : at].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableError(f"output {spec.name!r} is no text: {error}") from error
    if len(texts) != count or at != len(content):
        raise UnreadableError(f"output {spec.name!r} has {len(texts)} texts, not {count}")
    return texts
