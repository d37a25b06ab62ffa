"""What an ONNX file takes and gives, read without the `onnx` package: takes a path, gives specs.

A worker that serves a model may have neither that package nor a runtime. Only the few fields that
are needed are read, past everything else: weights are never touched.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.protobuf import fields

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""ONNX's numbers of the types that a server can carry."""

# Numbers of fields, in the order of ModelProto, GraphProto, TensorProto, ValueInfoProto ...
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13


class OnnxSignature(NamedTuple):
    """What a file tells.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        beside: Files beside it that hold its weights, relative to its folder.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    beside: tuple[str, ...]


def read_onnx(path: Path) -> OnnxSignature:
    """Read a file.

    Raises:
        InferbenchError: There is none, or it is no ONNX model (IB-806).
    """
    try:
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _read(memoryview(whole))  # which keeps nothing of it
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InferbenchError(
            "IB-806", f"{path} is no ONNX model that can be served: {error}"
        ) from (error)


def _read(view: memoryview) -> OnnxSignature:
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    weights: set[str] = set()
    beside: dict[str, None] = {}
    graphs = [content for number, content in fields(view) if number == _MODEL_GRAPH]
    if not graphs:
        raise ValueError("it has no graph")
    for number, content in fields(_part(graphs[0])):
        if number == _GRAPH_INPUT:
            inputs.append(_spec(_part(content)))
        elif number == _GRAPH_OUTPUT:
            outputs.append(_spec(_part(content)))
        elif number == _GRAPH_INITIALIZER:
            for field, value in fields(_part(content)):
                if field == _TENSOR_NAME:
                    weights.add(_text(value))
                elif field == _TENSOR_EXTERNAL:
                    beside |= dict.fromkeys(_location(_part(value)))
    return OnnxSignature(
        tuple(spec for spec in inputs if spec.name not in weights), tuple(outputs), tuple(beside)
    )


_Content = memoryview | int


def _part(content: _Content) -> memoryview:
    if isinstance(content, int):
        raise ValueError("a field of it is a number where a message belongs")
    return content


def _text(content: _Content) -> str:
    return bytes(_part(content)).decode()


def _location(entry: memoryview) -> Iterator[str]:
    """Yield the file that an entry of external data names."""
    found = dict(fields(entry))
    if _text(found.get(1, memoryview(b""))) == "location":
        yield PurePosixPath(_text(found[2])).as_posix()


def _spec(value_info: memoryview) -> TensorSpec:
    """Read a ValueInfoProto: name = 1, type = 2; of that tensor_type = 1: elem_type, shape."""
    found = dict(fields(value_info))
    name = _text(found[1]) if 1 in found else ""
    kind = dict(fields(_part(found[2]))) if 2 in found else {}
    if 1 not in kind:
        raise ValueError(f"{name!r} is no tensor")
    tensor = dict(fields(_part(kind[1])))
    number = tensor.get(1, 0)
    if number not in _TYPES:
        raise ValueError(f"{name!r} is of ONNX's type {number}, which a server does not carry")
    shape = tuple(map(_dimension, _each(_part(tensor[2]), 1))) if 2 in tensor else None
    return TensorSpec(name, _TYPES[int(number)], shape)


def _each(message: memoryview, number: int) -> Iterator[memoryview]:
    return (_part(content) for found, content in fields(message) if found == number)


def _dimension(message: memoryview) -> int | str:
    """Read a Dimension: a number, a symbol, or nothing."""
    found = dict(fields(message))
    if 1 in found:
        value = found[1]
        return int(value) if isinstance(value, int) else -1  # a varint
    return _text(found[2]) or -1 if 2 in found else -1
