"""The little of protobuf's wire format that KServe's messages need: fields to bytes, and back.

Pure. Written out because a message is made once and sent a thousand times a second: with it, no
runtime of protobuf or gRPC lives in the process that makes load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """Write an integer; negative ones as 64 bits."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value >= 128:
        written.append(value % 128 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def number(field: int, value: int) -> bytes:
    """Write an integer or a boolean field."""
    return varint(field << 3 | _VARINT) + varint(value)


def chunk(field: int, value: bytes | str) -> bytes:
    """Write a field of bytes, text, or a message that is written already."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _BYTES) + varint(len(raw)) + raw


def packed(field: int, values: Iterable[int]) -> bytes:
    """Write a repeated field of integers."""
    return chunk(field, b"".join(varint(value) for value in values))


def fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield a message's fields, each with its number; what it holds is left as it is.

    Raises:
        ValueError: The message is cut off or no protobuf.
    """
    view = memoryview(message)
    at = 0
    try:
        while at < len(view):
            key, at = _varint(view, at)
            kind = key & 7
            value: int | memoryview
            if kind == _VARINT:
                value, at = _varint(view, at)
            elif kind in (_BYTES, _FIXED64, _FIXED32):
                size, at = _varint(view, at) if kind == _BYTES else (8 if kind == 1 else 4, at)
                value = view[at : at + size]
                at += size
                if len(value) < size:
                    raise IndexError
            else:
                raise ValueError(f"a protobuf field of kind {kind}")
            yield key >> 3, value
    except IndexError:
        raise ValueError("a protobuf message is cut off") from None


def integers(value: int | memoryview) -> list[int]:
    """Read a repeated field of signed integers, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    read, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        read.append(_signed(one))
    return read


def text(value: int | memoryview) -> str:
    """Read a field of text."""
    return bytes(value).decode() if isinstance(value, memoryview) else str(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a protobuf integer without end")
