"""One running server: takes an installation and a repository, gives addresses; or connects to one.

A server that was started here is this process's own: it ends with `stop`, and whatever happens to
this process (`guard.py` sees to that). One that is named by its URL is only talked to. Standard
library, and gRPC where the URL says so. Knows neither models nor variants.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving import guard
from pytest_inferbench.serving.control import Control, HttpControl
from pytest_inferbench.worker.supervisor import descendants

READY_S, EXIT_S = 60.0, 3
SEGMENTS = "inferbench-"
"""How the names of all shared memory begin that a server of ours, or a client of it, has."""

TOKEN_VARIABLE = "INFERBENCH_WORKER"
_STUB = "triton_python_backend_stub"
_HOST = "127.0.0.1"
_PORT_TRIES = 5
_POLL_S = 0.02
_LAST_LINES = 25
_STOP_MARGIN_S = 10.0
_TAKEN = ("Address already in use", "Socket '", "failed to start", "port is already")


@dataclass(frozen=True)
class Installation:
    """Where a server's programs are; `install.py` makes one.

    Attributes:
        tritonserver: The executable; with an image, its name in it.
        backends: The folder of backends; empty for the server's own.
        caches: The folder of response caches; empty for the server's own.
        path: Where the stub finds its Python.
        libraries: Where the loader finds that Python's library, and the server's own.
        image: NVIDIA's container to run it in; empty for this host.
    """

    tritonserver: str
    backends: str = ""
    caches: str = ""
    path: str = ""
    libraries: str = ""
    image: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Installation:
        """Return one of plain fields."""
        return cls(**fields)

    def as_fields(self) -> dict[str, str]:
        """Return plain fields."""
        return asdict(self)


@dataclass(frozen=True)
class Order:
    """What to start.

    Attributes:
        repository: The model repository.
        models: What to load from it; more can be loaded later.
        gpu: Whether the server may see GPUs.
        cache_mib: Memory for the response cache; 0 for none.
        ready_s: How long it may take until it is ready.
        exit_s: How long requests in flight may take when it is stopped.
        ports: HTTP, gRPC and metrics; 0 for any that is free.
        arguments: Further arguments.
        env: Further environment variables.
    """

    repository: Path
    models: Sequence[str] = ()
    gpu: bool = False
    cache_mib: int = 0
    ready_s: float = READY_S
    exit_s: int = EXIT_S
    ports: tuple[int, int, int] = (0, 0, 0)
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


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
        return self.process.prefix if self.process else f"{SEGMENTS}{os.getpid()}-"

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

    def note_models(self, models: Sequence[str]) -> None:
        """Note what is loaded now, and the processes that run it, after loading by `control`."""
        self._models = tuple(models)
        self._stubs = self.process.stubs() if self.process else frozenset()

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
            InferbenchError: IB-803 the server itself ended; IB-808 it does not load them again.
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
            while not self.control.is_model_ready(name) and time.monotonic() < deadline:
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


class Process:
    """A server's process with its guard, its log, its own folder and its shared memory.

    Attributes:
        pid: The server's.
        prefix: How the names of its shared memory begin.
        log: Its log.
    """

    def __init__(self, installation: Installation, order: Order, ports: Sequence[int]) -> None:
        token = os.environ.get(TOKEN_VARIABLE) or str(os.getpid())
        self.id = uuid.uuid4().hex[:12]
        self.prefix = f"{SEGMENTS}{token}-{self.id}"
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self.prefix}."))
        self.log = self._folder / "triton.log"
        self._exit_s = order.exit_s
        command = command_of(installation, order, ports, self.id, self.prefix)
        text = guard.__loader__.get_source(guard.__name__)  # type: ignore[union-attr]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        asked = {
            "command": command,
            "env": environment_of(installation, order),
            "log": str(self.log),
            "folder": str(self._folder),
            "exit_s": order.exit_s + _STOP_MARGIN_S,
            "prefix": self.prefix,
        }
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(json.dumps(asked).encode() + b"\n")
        self._guard.stdin.flush()
        word, _, number = self._guard.stdout.readline().decode().partition(" ")
        if word != "started":
            self.stop()
            raise InferbenchError(
                "IB-801", f"{command[0]} cannot be started", "Is it there, and executable?"
            )
        self.pid = int(number)

    def has_ended(self) -> bool:
        """Whether the server is gone."""
        return self._guard.poll() is not None

    def stubs(self) -> frozenset[int]:
        """Return the processes that run Python backends now."""
        return frozenset(pid for pid in descendants(self.pid) if _is_live_stub(pid))

    def check(self) -> None:
        """Say so if the server is gone.

        Raises:
            InferbenchError: IB-803.
        """
        if self.has_ended():
            raise InferbenchError(
                "IB-803",
                f"the Triton server (pid {self.pid}) ended: {self.how_it_ended()}",
                f"Its log ends with what it said last.{self.log_end()}",
            )

    def how_it_ended(self) -> str:
        """Return its signal or exit status, in words."""
        assert self._guard.stdout is not None
        word, _, number = self._guard.stdout.readline().decode().strip().partition(" ")
        if word == "ended":
            self._ended = int(number)
        code = getattr(self, "_ended", None)
        if code is None:
            return "its guard was killed"
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def log_text(self) -> str:
        """Return all that it said."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def log_end(self) -> str:
        """Return the last lines that it said, to end a message with; its tables are left out."""
        lines = [line for line in self.log_text().splitlines() if line[:1] not in ("|", "+", "")]
        kept = "\n".join(f"    {line}" for line in lines[-_LAST_LINES:])
        return f"\n{kept}" if kept else ""

    def stop(self, *, keep_log: bool = False, gently: bool = True) -> None:
        """End it and all below it; a second time does nothing."""
        ends = (self._guard.stdin, self._guard.stdout)
        if self._guard.poll() is None:
            assert self._guard.stdin is not None
            with contextlib.suppress(OSError):
                if gently:
                    self._guard.stdin.write(b"t")
                    self._guard.stdin.flush()
                else:
                    self._guard.stdin.close()
            try:
                self._guard.wait(self._exit_s + 2 * _STOP_MARGIN_S)
            except subprocess.TimeoutExpired:
                self._guard.stdin.close()  # its end: no more patience
                self._guard.wait()
        for end in ends:
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
        guard.sweep(self.prefix)
        if not keep_log:
            shutil.rmtree(self._folder, ignore_errors=True)


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
    if parts.scheme == "http":
        server_url = f"http://{host}:{parts.port or 8000}{parts.path.rstrip('/')}"
        control, addresses = HttpControl(server_url, timeout_s), {"http_url": server_url}
    else:
        from pytest_inferbench.serving.control_grpc import GrpcControl

        server_url = f"{host}:{parts.port or 8001}"
        control, addresses = GrpcControl(server_url, timeout_s), {"grpc_url": server_url}
    if not control.is_ready():
        control.close()
        raise InferbenchError(
            "IB-381",
            f"no Triton server is ready at {url}",
            "Is it up, is this its host and port, and are all of its models loaded?",
        )
    return Server(control, metrics_url=metrics_url or f"http://{host}:8002/metrics", **addresses)


def command_of(
    installation: Installation, order: Order, ports: Sequence[int], name: str, prefix: str
) -> list[str]:
    """Return the command that starts a server.

    Args:
        installation: Where it is.
        order: What is asked of it.
        ports: HTTP, gRPC and metrics.
        name: Its id, which it tells.
        prefix: How it names its shared memory.
    """
    inside = installation.image != ""
    arguments = [
        f"--id={name}",
        f"--model-repository={'/models' if inside else order.repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in order.models),
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={order.exit_s}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        *(
            f"--{service}-{key}={value}"
            for service, port in zip(("http", "grpc", "metrics"), ports, strict=True)
            for key, value in (("address", _HOST), ("port", port))
        ),
    ]
    if installation.backends:
        arguments.append(f"--backend-directory={installation.backends}")
    if order.cache_mib:
        arguments.append(f"--cache-config=local,size={order.cache_mib << 20}")
        if installation.caches:
            arguments.append(f"--cache-directory={installation.caches}")
    arguments += order.arguments
    if inside:
        return docker_command(installation.image, order, name, arguments)
    return [installation.tritonserver, *arguments]


def docker_command(image: str, order: Order, name: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs NVIDIA's container; never run by this project's authors.

    It shares this host's network, so that the loopback address is the host's, and its shared
    memory. The server in it ends when the command's standard input does, which is when the
    command is killed: a container would otherwise outlive it.
    """
    script = (
        'tritonserver "$@" & server=$!; (cat > /dev/null; kill -TERM $server) <&3 & wait $server'
    )
    variables = {"ORT_DISABLE_TELEMETRY": "1", **order.env}
    return [
        *("docker", "run", "--rm", "--interactive", "--name", f"inferbench-{name}"),
        *("--network=host", "--ipc=host"),
        *(("--gpus=all",) if order.gpu else ()),
        *(f"--env={key}={value}" for key, value in variables.items()),
        f"--volume={order.repository}:/models:ro",
        image,
        *("sh", "-c", f"exec 3<&0; {script}", "sh"),
        *arguments,
    ]


def environment_of(installation: Installation, order: Order) -> dict[str, str]:
    """Return the environment of a server: its own Python before any other, no telemetry."""
    passed = ("HOME", "TMPDIR", "LANG", "TZ", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in passed if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("INFERBENCH_")}
    if not order.gpu:
        kept["CUDA_VISIBLE_DEVICES"] = ""
    path = os.environ.get("PATH", "") if installation.image else "/usr/bin:/bin"
    return {
        **kept,
        "PATH": ":".join(filter(None, (installation.path, path))),
        **({"LD_LIBRARY_PATH": installation.libraries} if installation.libraries else {}),
        "ORT_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        **order.env,
    }


def _ready(process: Process, order: Order, ports: Sequence[int]) -> Server | None:
    """Wait until a server is ready; None if it found a port taken."""
    http_url = f"http://{_HOST}:{ports[0]}"
    control = HttpControl(http_url)
    deadline = time.monotonic() + order.ready_s
    while not (control.is_ready() and _is_ours(control, process)):
        if process.has_ended():
            control.close()
            if 0 in order.ports and any(words in process.log_text() for words in _TAKEN):
                return None
            raise _did_not_start(process)
        if time.monotonic() > deadline:
            control.close()
            raise InferbenchError(
                "IB-802",
                f"the Triton server (pid {process.pid}) was not ready within {order.ready_s:g} s",
                f"Its whole log is {process.log}; it ends with:{process.log_end()}",
            )
        time.sleep(_POLL_S)
    return Server(
        control,
        http_url=http_url,
        grpc_url=f"{_HOST}:{ports[1]}",
        metrics_url=f"http://{_HOST}:{ports[2]}/metrics",
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
    """Return ports that nobody listens on just now, for those that are not given."""
    with contextlib.ExitStack() as held:
        found = []
        for port in asked:
            sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            if not port:
                sock.bind((_HOST, 0))
            found.append(port or int(sock.getsockname()[1]))
        return found


def _is_live_stub(pid: int) -> bool:
    """Whether a process is a stub that runs; one that ended may still be waited for."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    first = command.partition(b"\0")[0].decode(errors="replace")
    return first.endswith(_STUB) and state not in (b"Z", b"X")


def facts_of(server: Server) -> dict[str, Any]:
    """Return what a server tells of itself, as plain types."""
    told = server.control.metadata()
    facts = {"server": f"{told.get('name', '')} {told.get('version', '')}".strip()}
    return {"addresses": server.addresses(), "version": str(told.get("version", "")), **facts}
