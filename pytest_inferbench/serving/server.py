"""One running server: takes an installation and a repository, gives addresses; or connects to one.

A server that was started here is this process's own: it ends with `stop`, and whatever happens to
this process (`process.py` sees to that). One that is named by its URL is only talked to. Standard
library, and gRPC where the URL says so. Knows neither models nor variants.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.command import HOST, READY_S, Installation, Order
from pytest_inferbench.serving.control import Control, HttpControl
from pytest_inferbench.serving.process import Process, own_prefix

__all__ = ["Installation", "Order", "Process", "Server", "connect", "facts_of", "start"]

_PORT_TRIES = 5
_POLL_S, _ASK_S = 0.02, 2.0
_TAKEN = ("Address already in use", "Socket '", "failed to start", "port is already")


class Server:
    """A server that can be talked to.

    Attributes:
        http_url: Its address for HTTP; empty where it is reached by gRPC alone.
        grpc_url: Its address for gRPC, as ``host:port``; empty where it is reached by HTTP alone.
        metrics_url: Where it exports metrics; empty where nobody knows.
        control: How it is asked.
        process: The process, where it is our own.
    """

    def __init__(
        self,
        control: Control,
        *,
        http_url: str = "",
        grpc_url: str = "",
        metrics_url: str = "",
        process: Process | None = None,
        models: Sequence[str] = (),
    ) -> None:
        self.control, self.process = control, process
        self.http_url, self.grpc_url, self.metrics_url = http_url, grpc_url, metrics_url
        self._models = tuple(models)
        self._stubs = process.stubs() if process else frozenset()

    @property
    def is_owned(self) -> bool:
        """Whether it was started here."""
        return self.process is not None

    @property
    def pid(self) -> int | None:
        """The server's process; None where it is not our own."""
        return self.process.pid if self.process else None

    @property
    def segments(self) -> str:
        """How a client of this process names its shared memory, so that none is ever left."""
        return self.process.prefix if self.process else own_prefix()

    def addresses(self) -> dict[str, str]:
        """Return what it is reached by, those that are known."""
        named = {"http": self.http_url, "grpc": self.grpc_url, "metrics": self.metrics_url}
        return {name: url for name, url in named.items() if url}

    def dead_stubs(self) -> int:
        """Return how many of the processes that run Python backends are gone.

        The server itself does not say: it stays ready, and each request fails after a second.
        """
        if self.process is None:
            return 0
        return len(self._stubs - self.process.stubs())

    def check(self) -> None:
        """Say so if the server, or what runs a model in it, has died.

        Raises:
            InferbenchError: IB-803 the server ended; IB-804 a stub did.
        """
        if self.process is None:
            return
        self.process.check()
        if dead := self.dead_stubs():
            raise InferbenchError(
                "IB-804",
                f"{dead} of the {len(self._stubs)} processes that run models in the Triton server"
                f" (pid {self.pid}) died; it still says that it is ready",
                f"It was killed, or its runtime crashed. Unloading and loading mends it."
                f"{self.process.log_end()}",
            )

    def mend(self, models: Sequence[str] = ()) -> bool:
        """Unload and load models again if a stub has died; return whether that was so.

        Args:
            models: Which; by default all that were loaded when it was started.

        Raises:
            InferbenchError: IB-803 the server itself ended; IB-808 it does not load them again;
                IB-802 one is not ready in time.
        """
        if self.process is None:
            return False
        self.process.check()
        if not self.dead_stubs():
            return False
        names = tuple(models or self._models)
        for name in reversed(names):
            self.control.unload(name)
        deadline = time.monotonic() + READY_S
        for name in names:
            self.control.load(name)
            while not self.control.is_model_ready(name):
                if time.monotonic() > deadline:
                    raise InferbenchError(
                        "IB-802",
                        f"the Triton server (pid {self.pid}) did not have {name!r} ready again"
                        f" within {READY_S:g} s after a process that ran it had died",
                        f"Its log ends with what it said last.{self.process.log_end()}",
                    )
                time.sleep(_POLL_S)
        self._stubs = self.process.stubs()
        return True

    def check_and_mend(self) -> None:
        """Say so if the server or a stub has died, as `check`; what a stub ran is loaded again.

        Raises:
            InferbenchError: See `check`.
        """
        try:
            self.check()
        except InferbenchError as error:
            if error.code == "IB-804":
                self.mend()
            raise

    def stop(self, *, keep_log: bool = False, gently: bool = True) -> None:
        """End a server of our own, and all that it had; forget any other.

        Args:
            keep_log: Whether its log stays where it is.
            gently: Whether requests in flight are answered first, which takes three seconds
                even where there are none.
        """
        self.control.close()
        if self.process is not None:
            self.process.stop(keep_log=keep_log, gently=gently)

    def __enter__(self) -> Server:
        """Give itself, to be stopped at the end of a `with`."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop it; its log stays if something went wrong."""
        self.stop(keep_log=kind is not None)


def start(installation: Installation, order: Order) -> Server:
    """Start a server and wait until it is ready.

    Raises:
        InferbenchError: IB-801 it ended instead; IB-802 it was not ready in time.
    """
    for attempt in range(_PORT_TRIES):
        ports = _free_ports(order.ports)
        process = Process(installation, order, ports)
        try:
            server = _ready(process, order, ports)
        except BaseException:
            process.stop(keep_log=True)
            raise
        if server is not None:
            return server
        process.stop(keep_log=attempt == _PORT_TRIES - 1)
    raise InferbenchError(
        "IB-801",
        f"the Triton server found its ports taken, {_PORT_TRIES} times; last {ports}",
        "Name others, or find out what listens there.",
    )


def connect(url: str, metrics_url: str = "", timeout_s: float = 60.0) -> Server:
    """Return a server that somebody else runs.

    Args:
        url: ``http://host:8000`` or ``grpc://host:8001``.
        metrics_url: Where it exports metrics; by default port 8002 of that host.
        timeout_s: How long a question may take.

    Raises:
        InferbenchError: The URL is none (IB-807), or the server does not answer there (IB-381).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "grpc") or not parts.hostname:
        raise InferbenchError(
            "IB-807",
            f"{url!r} names no Triton server",
            "Write http://host:8000 or grpc://host:8001.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    control: Control
    http_url = grpc_url = ""
    if parts.scheme == "http":
        http_url = f"http://{host}:{parts.port or 8000}{parts.path.rstrip('/')}"
        control = HttpControl(http_url, timeout_s)
    else:
        from pytest_inferbench.serving.control_grpc import GrpcControl

        grpc_url = f"{host}:{parts.port or 8001}"
        control = GrpcControl(grpc_url, timeout_s)
    if not control.is_ready():
        control.close()
        raise InferbenchError(
            "IB-381",
            f"no Triton server is ready at {url}",
            "Is it up, is this its host and port, and are all of its models loaded?",
        )
    metrics_url = metrics_url or f"http://{host}:8002/metrics"
    return Server(control, http_url=http_url, grpc_url=grpc_url, metrics_url=metrics_url)


def _ready(process: Process, order: Order, ports: Sequence[int]) -> Server | None:
    """Wait until a server is ready; None if it found a port taken."""
    http_url = f"http://{HOST}:{ports[0]}"
    control, asking = HttpControl(http_url), HttpControl(http_url, _ASK_S)
    deadline = time.monotonic() + order.ready_s
    while not (asking.is_ready() and _is_ours(asking, process)):
        if process.has_ended():
            asking.close()
            if 0 in order.ports and any(words in process.log_text() for words in _TAKEN):
                return None
            raise _did_not_start(process)
        if time.monotonic() > deadline:
            asking.close()
            raise InferbenchError(
                "IB-802",
                f"the Triton server (pid {process.pid}) was not ready within {order.ready_s:g} s",
                f"Its whole log is {process.log}; it ends with:{process.log_end()}",
            )
        time.sleep(_POLL_S)
    asking.close()
    return Server(
        control,
        http_url=http_url,
        grpc_url=f"{HOST}:{ports[1]}",
        metrics_url=f"http://{HOST}:{ports[2]}/metrics",
        process=process,
        models=order.models,
    )


def _is_ours(control: Control, process: Process) -> bool:
    """Whether who answers is the server that was started, and not another at the same port."""
    try:
        return bool(control.metadata().get("name") == process.id)
    except InferbenchError:
        return False


def _did_not_start(process: Process) -> InferbenchError:
    return InferbenchError(
        "IB-801",
        f"the Triton server ended instead of serving: {process.how_it_ended()}",
        f"Its whole log is {process.log}; it ends with:{process.log_end()}",
    )


def _free_ports(asked: Sequence[int]) -> list[int]:
    """Return ports that nobody listens on just now: those that are given, or any.

    Raises:
        InferbenchError: One that is given is taken (IB-801).
    """
    with contextlib.ExitStack() as held:
        found = []
        for port in asked:
            sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except (OSError, OverflowError) as error:
                why = error.strerror if isinstance(error, OSError) else "ports end at 65535"
                raise InferbenchError(
                    "IB-801",
                    f"port {port} of {HOST}, which the Triton server shall have, cannot be had:"
                    f" {why}",
                    "Name another, or 0 for any that is free.",
                ) from error
            found.append(int(sock.getsockname()[1]))
        return found


def facts_of(server: Server) -> dict[str, Any]:
    """Return what a server tells of itself, as plain types."""
    told = server.control.metadata()
    facts = {"server": f"{told.get('name', '')} {told.get('version', '')}".strip()}
    return {"addresses": server.addresses(), "version": str(told.get("version", "")), **facts}
