"""One connection to a server: takes an address, gives a socket, or why there is none.

Sockets are the standard library's, which Locust replaces by gevent's: nothing here knows either.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from pytest_inferbench.errors import InferbenchError

CHUNK = 1 << 16
_IDLE_S = 1.0
_PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}


class RequestError(Exception):
    """A request that got no good answer; the text is the reason, alike for alike failures.

    Attributes:
        lost: The connection is of no more use.
    """

    def __init__(self, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.lost = lost


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    scheme: str
    host: str
    port: int

    @property
    def grpc(self) -> bool:
        """Whether gRPC is spoken there."""
        return self.scheme.startswith("grpc")

    @property
    def tls(self) -> bool:
        """Whether it is spoken through TLS."""
        return self.scheme.endswith("s")

    @property
    def authority(self) -> str:
        """The host and port, as requests name them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address_of(url: str) -> Address:
    """Read an address such as `grpc://localhost:8001`.

    Raises:
        InferbenchError: It is none (IB-830).
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1:
        raise InferbenchError(
            "IB-830",
            f"{url!r} is no address of a server",
            f"Write it as grpc://localhost:8001; it may begin with {', '.join(_PORTS)}.",
        )
    return Address(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])


class Wire:
    """A socket that is connected when it is first needed, and again after it was lost."""

    def __init__(self, address: Address, timeout_s: float, protocols: tuple[str, ...] = ()) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._protocols = protocols
        self._socket: socket.socket | None = None
        self._used_s = 0.0

    def connected(self) -> tuple[socket.socket, bool]:
        """Return the socket, and whether it is a new one.

        Raises:
            RequestError: There is no connection to be had.
        """
        now_s = time.monotonic()
        if self._socket is not None and now_s - self._used_s > _IDLE_S and self._gone():
            self.close()  # a server may end what was idle; that is no failure
        self._used_s = now_s
        if self._socket is not None:
            return self._socket, False
        try:
            self._socket = self._connect()
        except OSError as error:
            raise RequestError(f"no connection: {said(error)}", lost=True) from None
        return self._socket, True

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(
            (self._address.host, self._address.port), timeout=self._timeout_s
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._address.tls:
            return plain
        context = ssl.create_default_context()
        if self._protocols:
            context.set_alpn_protocols(list(self._protocols))
        return context.wrap_socket(plain, server_hostname=self._address.host)

    def _gone(self) -> bool:
        assert self._socket is not None
        try:
            return bool(select.select([self._socket], [], [], 0)[0]) and (
                self._address.tls or not self._socket.recv(1, socket.MSG_PEEK)
            )
        except OSError:
            return True


def said(error: OSError) -> str:
    """Return what an error of the system says, the same each time."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return error.strerror or str(error) or type(error).__name__
