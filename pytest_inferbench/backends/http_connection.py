"""HTTP/1.1 over connections kept alive: takes a request, gives the whole answer or a named error.

Knows no tensor. One deadline stands over a whole exchange, so that a server that answers byte by
byte is found as surely as one that is silent. Proxies are not asked and redirects not followed.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from pytest_inferbench.errors import InferbenchError

_Request = tuple[str, str, "bytes | None", "dict[str, str]"]

_PIECE_BYTES = 1 << 20
_HEAD_CHARACTERS = 200


class Answer(NamedTuple):
    """A whole answer.

    Attributes:
        status: Its status.
        headers: Its headers, found in any case.
        content: Its body.
        wire_ms: From the first byte sent to the last received.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    wire_ms: float

    @property
    def head(self) -> str:
        """The first characters of the body, printable."""
        return printable(self.content)


class _Clock(NamedTuple):
    """When an exchange began, by the fine clock, and when it must be over, by the other."""

    started_s: float
    deadline_s: float


class _DroppedError(Exception):
    """The peer ended an idle connection; nothing of an answer came."""


class Connections:
    """Connections to one service; each is in one thread's hands at a time."""

    def __init__(
        self, url: SplitResult, *, timeout_s: float, limit_bytes: int, tls: ssl.SSLContext | None
    ) -> None:
        self._base = f"{url.scheme}://{url.netloc}"
        self._host, self._port = str(url.hostname), url.port
        self._timeout_s, self._limit_bytes, self._tls = timeout_s, limit_bytes, tls
        self._idle: deque[_Connection] = deque()
        self._closed = False

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Answer:
        """Send a request and return its answer, whatever its status.

        Where the service has dropped an idle connection and nothing of an answer came, the request
        is sent once more on a new one.

        Raises:
            InferbenchError: The service was not reached or hung up (IB-381), took too long
                (IB-382), or did not speak proper HTTP (IB-385).
        """
        request = (method, target, content, dict(headers))
        clock = _Clock(time.perf_counter(), time.monotonic() + self._timeout_s)
        connection = self._usable()
        if connection is not None:
            with contextlib.suppress(_DroppedError):
                return self._exchange(connection, request, clock)
        return self._exchange(self._new(), request, clock)

    def close(self) -> None:
        """Close every connection; one in use is closed when its answer has come."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _exchange(self, connection: _Connection, request: _Request, clock: _Clock) -> Answer:
        try:
            answer = connection.exchange(request, self._limit_bytes, clock)
        except _DroppedError:
            connection.close()
            raise
        except BaseException as error:
            connection.close()
            where = f"{request[0]} {self._base}{request[1]}"
            named = _named(error, where, self._timeout_s, connection.so_far)
            if named is None:
                raise
            raise named from error
        self._keep(connection)
        return answer

    def _new(self) -> _Connection:
        if self._tls is None:
            return _Connection(HTTPConnection(self._host, self._port))
        return _Connection(HTTPSConnection(self._host, self._port, context=self._tls))

    def _usable(self) -> _Connection | None:
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.is_quiet():
                    return connection
                connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        if not connection.is_reusable or self._closed:
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:  # closed in between, by another thread
            self.close()


class _Connection:
    """One connection of the standard library's, its reads under a deadline."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._http = connection
        self._http.response_class = self._response  # type: ignore[assignment]
        self._deadline_s = 0.0
        self._source: _Source | None = None
        self.is_reusable = False
        self.so_far = ""

    def exchange(self, request: _Request, limit: int, clock: _Clock) -> Answer:
        """Send a request and read its answer.

        Raises:
            _DroppedError: The connection is not new, and was ended before anything of an answer.
        """
        is_new = self._http.sock is None
        self._deadline_s, self._source, self.is_reusable = clock.deadline_s, None, False
        self.so_far = ""
        if is_new:
            self._http.timeout = _left_s(clock.deadline_s)
            self._http.connect()
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http.sock.settimeout(_left_s(clock.deadline_s))
        sent_all = False
        # A service may answer and hang up before it has read everything: its answer tells why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self._http.request(*request)
            sent_all = True
        try:
            response = self._http.getresponse()
        except ConnectionError as error:
            if is_new or (self._source and self._source.received):
                raise
            raise _DroppedError from error
        with response:
            content = self._read(response, limit)
            wire_ms = (time.perf_counter() - clock.started_s) * 1e3
        stray = self._source is None or self._source.has_stray_bytes
        self.is_reusable = sent_all and not stray and self._http.sock is not None
        return Answer(response.status, response.headers, content, wire_ms)  # type: ignore[arg-type]

    def _read(self, response: HTTPResponse, limit: int) -> bytes:
        """Return the body, within the limit and of the length that the answer announced."""
        self.so_far = f"; it answered {response.status}"
        announced = response.headers.get("Content-Length")
        if announced is not None and not announced.isdecimal():
            raise HTTPException(f"its Content-Length is {announced[:40]!r}")
        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            raise HTTPException(f"its content encoding is {coding[:40]!r}, which was not asked for")
        length = response.length
        if length is not None and length > limit:
            raise HTTPException(f"it announces {length} bytes; max_response_mib allows {limit}")
        content = bytearray()
        try:
            while piece := response.read(_PIECE_BYTES):
                content += piece
                if len(content) > limit:
                    raise HTTPException(f"it goes on past {limit} bytes, max_response_mib")
        except IncompleteRead as error:
            content += error.partial
            raise
        finally:
            self.so_far += f", and its body begins {printable(content)!r}"
        if length is not None and len(content) < length:
            raise HTTPException(f"its body ended after {len(content)} of {length} bytes")
        return bytes(content)

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last answer: neither an end nor stray bytes."""
        if self._http.sock is None:
            return False
        poll = select.poll()
        poll.register(self._http.sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def _response(self, sock: socket.socket, *args: Any, **keywords: Any) -> HTTPResponse:
        self._source = _Source(sock, self._deadline_s)
        return HTTPResponse(self._source, *args, **keywords)  # type: ignore[arg-type]


class _Source(io.RawIOBase):
    """A socket's bytes until a deadline; stands in for the socket that a response reads."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._sock, self._deadline_s = sock, deadline_s
        self._bytes = sock.makefile("rb", buffering=0)  # outlives the connection's own close
        self._ended = False
        self.received = 0
        self.has_stray_bytes = False

    def makefile(self, *_: Any) -> io.BufferedReader:
        return _Reader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ended:
            return 0
        self._sock.settimeout(_left_s(self._deadline_s))
        count = self._bytes.readinto(buffer) or 0
        self.received += count
        return count

    def close(self) -> None:
        self._bytes.close()
        super().close()

    def end(self, reader: io.BufferedReader) -> None:
        """Read no more, and note whether more than the answer was received."""
        self._ended = True
        self.has_stray_bytes = bool(reader.peek(1))


class _Reader(io.BufferedReader):
    raw: _Source

    def close(self) -> None:
        if not self.closed:
            self.raw.end(self)
        super().close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def printable(content: bytes | bytearray) -> str:
    """Return the first characters of a body, on one line."""
    text = content[: 4 * _HEAD_CHARACTERS].decode(errors="replace")[:_HEAD_CHARACTERS]
    return "".join(each if each.isprintable() else " " for each in text)


def _named(
    error: BaseException, where: str, timeout_s: float, so_far: str
) -> InferbenchError | None:
    """Return the error a user reads; None for one that is not the service's doing."""
    said = str(error) if type(error) is HTTPException else f"{type(error).__name__}: {error}"
    if isinstance(error, TimeoutError):
        return InferbenchError(
            "IB-382",
            f"{where} was not answered in full within {timeout_s:g} s{so_far}",
            "See the service's own log; the option timeout_s gives it longer.",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = 'verify = "ca.pem" trusts that authority; verify = false trusts anyone.'
        return InferbenchError("IB-381", f"{where}: its certificate is not trusted: {error}", hint)
    if isinstance(error, OSError | UnicodeError):  # the latter for a host that cannot be looked up
        hint = "Is the service up, and is this its host, port and scheme?"
        return InferbenchError("IB-381", f"{where} failed: {said}{so_far}", hint)
    if isinstance(error, HTTPException | ValueError):
        hint = "See the service's own log."
        return InferbenchError(
            "IB-385", f"{where}: the answer is not proper HTTP: {said}{so_far}", hint
        )
    return None
