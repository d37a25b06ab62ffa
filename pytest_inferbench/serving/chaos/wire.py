"""Bytes on a socket as they stand: takes what is to be sent, gives the status that came, if any.

For requests that no HTTP library would send. Nothing is waited for longer than the deadline.
"""

from __future__ import annotations

import email
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

CLOSED, SILENT = "closed", "silent"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_CHUNK = 65536


@dataclass(frozen=True)
class Ending:
    """How an exchange ended.

    Attributes:
        status: HTTP's; None where no answer came.
        how: `closed` or `silent` where none came: the server hung up, or said nothing in time.
        body: The answer's body, as far as it came.
        headers: Those of the answer.
    """

    status: int | None
    how: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.how if self.status is None else f"status {self.status}"


def address_of(text: str) -> tuple[str, int]:
    """Return the host and the port of "host:port"."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def request_of(
    path: str,
    content: bytes,
    headers: Mapping[str, str],
    method: str = "POST",
    length: str | None = None,
) -> bytes:
    """Return a request of HTTP/1.1; its length is the content's unless another is claimed."""
    whole = {"Host": "127.0.0.1", "Content-Length": length or str(len(content)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in whole.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def exchange(address: str, request: bytes, *, half_close: bool, within_s: float) -> Ending:
    """Send bytes on a connection of their own and read what comes.

    Args:
        address: "host:port".
        request: What is sent, whatever it is.
        half_close: Whether the server is told that nothing follows.
        within_s: How long sending and reading may take together.

    Raises:
        OSError: The server does not take connections.
    """
    deadline_s = time.monotonic() + within_s
    with socket.create_connection(address_of(address), timeout=within_s) as connection:
        try:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it hung up early; it may have answered before
        return read_ending(connection, deadline_s)


def read_ending(connection: socket.socket, deadline_s: float) -> Ending:
    """Read an answer from a connection, or find that none comes."""
    content = b""
    while not _is_whole(content):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return _ending(content, SILENT)
        connection.settimeout(left_s)
        try:
            chunk = connection.recv(_CHUNK)
        except TimeoutError:
            return _ending(content, SILENT)
        except OSError:
            return _ending(content, CLOSED)
        if not chunk:
            return _ending(content, CLOSED)
        content += chunk
    return _ending(content, "")


def _ending(content: bytes, how: str) -> Ending:
    match = _STATUS.match(content)
    if match is None:
        return Ending(None, how or CLOSED)
    head, _, body = content.partition(b"\r\n\r\n")
    told = email.message_from_bytes(head.partition(b"\r\n")[2])
    return Ending(int(match[1]), "", body, dict(told.items()))


def _is_whole(content: bytes) -> bool:
    """Whether an answer is there, body and all; without a length its end is the connection's."""
    head, ended, body = content.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(ended) and length is not None and len(body) >= int(length[1])
