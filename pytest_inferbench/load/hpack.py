"""Header blocks of HTTP/2, without a dynamic table: takes fields, gives bytes, and back. Pure.

A peer told to keep no table (SETTINGS_HEADER_TABLE_SIZE = 0) writes every block so that it can be
read by itself: equal blocks mean equal fields, and a block seen before need not be read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

STATIC: tuple[tuple[str, str], ...] = (
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
)  # fmt: skip
"""RFC 7541, appendix A; counted from 1."""

# RFC 7541, appendix B: how many bits each byte's code has, and the end's. The codes follow from the
# lengths: those of one length are consecutive, in the order of the bytes.
_LENGTHS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28,
    30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6,
    6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6,
    6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23,
    23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22,
    23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19,
    22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21,
    26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip
_END = 256


def encoded(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write fields; none is put into a table, so the block may be sent any number of times."""
    return b"".join(_encoded(name, value) for name, value in fields)


def decoded(block: bytes) -> list[tuple[str, str]]:
    """Read a block whose writer keeps no table.

    Raises:
        ValueError: It is cut off, or refers to a table.
    """
    fields = []
    at = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 7)
                fields.append(_static(index))
            elif first & 0xE0 == 0x20:
                _, at = _integer(block, at, 5)  # the table's new size
            else:
                index, at = _integer(block, at, 6 if first & 0x40 else 4)
                if index:
                    name = _static(index)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                fields.append((name, value))
    except IndexError:
        raise ValueError("a header block is cut off") from None
    return fields


def _static(index: int) -> tuple[str, str]:
    if not 1 <= index <= len(STATIC):
        raise ValueError(f"a header block refers to entry {index} of a table that is not kept")
    return STATIC[index - 1]


def _encoded(name: str, value: str) -> bytes:
    if (name, value) in STATIC:
        return bytes([0x80 | (STATIC.index((name, value)) + 1)])
    return b"\x00" + _plain(name) + _plain(value)


def _plain(text: str) -> bytes:
    raw = text.encode("latin-1")
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, size = len(raw) - 127, bytearray([127])
    while rest >= 128:
        size.append(rest % 128 | 128)
        rest //= 128
    size.append(rest)
    return bytes(size) + raw


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at


def _text(block: bytes, at: int) -> tuple[str, int]:
    packed = block[at] & 0x80
    size, at = _integer(block, at, 7)
    raw = block[at : at + size]
    if len(raw) < size:
        raise IndexError
    return (_unpacked(raw) if packed else raw).decode("latin-1"), at + size


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[int, int], int]:
    codes = {}
    code, length = -1, 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
        code = (code + 1) << (_LENGTHS[symbol] - length)
        length = _LENGTHS[symbol]
        codes[length, code] = symbol
    return codes


def _unpacked(raw: bytes) -> bytes:
    codes = _codes()
    text = bytearray()
    code = length = 0
    for byte in raw:
        for bit in range(7, -1, -1):
            code = code << 1 | byte >> bit & 1
            length += 1
            symbol = codes.get((length, code))
            if symbol is not None:
                if symbol == _END:
                    raise ValueError("a header block holds the end of a text inside one")
                text.append(symbol)
                code = length = 0
    return bytes(text)
