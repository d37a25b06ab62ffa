"""Tensors as KServe's protocol names and writes them: takes arrays, gives bytes, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool",
        "UINT8": "uint8",
        "UINT16": "uint16",
        "UINT32": "uint32",
        "UINT64": "uint64",
        "INT8": "int8",
        "INT16": "int16",
        "INT32": "int32",
        "INT64": "int64",
        "FP16": "float16",
        "BF16": "uint16",  # numpy has none: its bits
        "FP32": "float32",
        "FP64": "float64",
        "BYTES": "object",
    }
)
"""KServe's name of a type -> numpy's."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as a server declares it; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its arrays.

        Raises:
            ValueError: No type of KServe's.
        """
        import numpy as np

        if self.datatype not in DTYPES:
            raise ValueError(f"{self.name!r} has the unknown type {self.datatype!r}")
        return np.dtype(DTYPES[self.datatype])


@dataclass(frozen=True)
class ModelSpec:
    """What a server says of a model."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a region of shared memory that the server knows."""

    region: str
    offset: int
    size: int


def to_raw(array: Array) -> bytes:
    """Write an array as the protocol's binary form."""
    import numpy as np

    if array.dtype.kind not in "OSU":
        return (
            np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        )
    texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel()]
    return b"".join(len(each).to_bytes(4, "little") + each for each in texts)


def from_raw(raw: bytes | memoryview, datatype: str, shape: Sequence[int]) -> Array:
    """Read an array in the protocol's binary form.

    Raises:
        ValueError: As many bytes are not an array of that type and shape.
    """
    import numpy as np

    if datatype != "BYTES":
        return np.frombuffer(raw, np.dtype(DTYPES[datatype]).newbyteorder("<")).reshape(shape)
    texts, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        texts.append(bytes(raw[at + 4 : at + 4 + size]))
        at += 4 + size
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)
