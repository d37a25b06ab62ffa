"""The controller's end: takes an environment, gives a `Worker` or a named error; knows no verb.

Between this process and the backend stand an execnet gateway, in which `supervisor.py` runs, and
its child. Closing the gateway's input ends all of it, and so does the end of this process.
"""

from __future__ import annotations

import json
import os
import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.failures import WorkerError, death, raised
from pytest_inferbench.worker.gateway import TOKEN, diagnosed, end_gateway, start_gateway

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_inferbench.worker.protocol import Array
    from pytest_inferbench.worker.servant import Servant

__all__ = ["Environment", "InProcessWorker", "Limits", "Reply", "Worker", "WorkerError", "launch"]

_CHILD_ENV = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_CHUNK_BYTES = 1 << 20
_WAIT_TICK_S = 1.0
_GRACE_S = 20.0  # for the supervisor to kill and report, beyond a call's own limit


@dataclass(frozen=True)
class Environment:
    """Where a worker runs.

    Attributes:
        name: What the settings call it.
        python: Its interpreter; this one if None.
        ssh: ``user@host`` of another machine, whose interpreter `python` is.
        env: Environment variables for the worker.
    """

    name: str = "default"
    python: str | None = None
    ssh: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    Attributes:
        open_timeout_s: For the launch, and for opening an artifact.
        call_timeout_s: For any other call.
        build_timeout_s: For building an artifact.
        memory_mib: Resident memory of the worker and all below it; None for no limit.
    """

    open_timeout_s: float = 120.0
    call_timeout_s: float = 60.0
    build_timeout_s: float = 1800.0
    memory_mib: float | None = None

    def timeout_s(self, verb: str) -> float:
        """Return the limit of a call that names none."""
        named = {"open": self.open_timeout_s, "build": self.build_timeout_s}
        return named.get(verb, self.call_timeout_s)


@dataclass(frozen=True)
class Reply:
    """An answer: plain JSON types, and arrays that the caller owns."""

    fields: dict[str, Any]
    arrays: dict[str, Array]


OnWait = Callable[[float], None]


class AnyWorker(Protocol):
    """What `Worker` and `InProcessWorker` have in common."""

    def call(
        self,
        verb: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
        *,
        timeout_s: float | None = None,
        on_wait: OnWait | None = None,
    ) -> Reply:
        """Have a verb done."""

    def close(self) -> None:
        """End it."""

    def __enter__(self) -> AnyWorker:
        """Give itself, to be closed at the end of a `with`."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Close it."""


def launch(
    environment: Environment | None = None,
    limits: Limits | None = None,
    modules: Sequence[str] = (),
) -> Worker:
    """Start a worker and wait until it answers.

    Args:
        environment: Where; by default this Python.
        limits: What it may take.
        modules: Modules to ship to it beyond its own: its adapter (``module`` or
            ``module:Class``), its recipes.

    Raises:
        WorkerError: It could not be started or reached (IB-305).
    """
    from pytest_inferbench.worker.bundle import collect

    environment, limits = environment or Environment(), limits or Limits()
    bundle = json.dumps(collect(modules)).encode()
    started = time.monotonic()
    gateway = start_gateway(environment, limits.open_timeout_s)
    worker = Worker(environment, limits, gateway)
    left_s = max(1.0, limits.open_timeout_s - (time.monotonic() - started))
    try:
        worker._start_child(bundle, left_s)
    except (OSError, EOFError, InferbenchError) as error:
        worker.close()
        if isinstance(error, InferbenchError) and error.code == "IB-673":
            raise  # it was reached, and says itself why it cannot be pinned
        raise diagnosed(environment, str(error)) from error
    except BaseException:
        worker.close()
        raise
    return worker


class Worker:
    """A process that does verbs, one at a time; `launch` makes it.

    Attributes:
        environment: Where it runs.
        limits: What it may take.
        pid: The process that runs the backend.
        supervisor_pid: The process on this host that watches over it, or reaches its host.
    """

    def __init__(self, environment: Environment, limits: Limits, gateway: Any) -> None:
        self.environment = environment
        self.limits = limits
        self.pid = 0
        self.supervisor_pid: int = gateway._io.popen.pid
        self._gateway = gateway
        self._end = ""
        self._token = uuid.uuid4().hex
        # Also runs when this process exits, or when nobody holds the worker any more.
        self._finalizer = weakref.finalize(
            self, end_gateway, gateway, environment, os.getpid(), self._token
        )

    def call(
        self,
        verb: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
        *,
        timeout_s: float | None = None,
        on_wait: OnWait | None = None,
    ) -> Reply:
        """Have a verb done.

        Args:
            verb: What to do.
            fields: Plain JSON types.
            arrays: Arrays by name.
            timeout_s: A limit other than that of `Limits`.
            on_wait: Called about once a second with the seconds that have passed.

        Raises:
            WorkerError: It died (IB-301), took too long (IB-302) or too much memory (IB-303), and
                is gone; or the verb raised (IB-304, or the code of the `InferbenchError` raised).
        """
        from pytest_inferbench.worker.protocol import decode, encode

        if self._end:
            raise WorkerError(
                "IB-306", f"`{verb}` was asked of a worker that is gone: {self._end}", "Launch one."
            )
        frame = encode({"verb": verb, "fields": dict(fields or {})}, arrays)
        doing = f"`{verb}` in environment {self.environment.name}"
        timeout_s = self.limits.timeout_s(verb) if timeout_s is None else timeout_s
        try:
            content, results = decode(self._exchange(frame, doing, timeout_s, on_wait))
        except BaseException as error:
            self._end = f"`{verb}` ended it with {str(error) or type(error).__name__}"
            self.close()
            raise
        if "error" in content:
            raise raised(content["error"], doing)
        return Reply(content["result"], results)

    def close(self) -> None:
        """End it and everything below it; never fails, and a second time does nothing."""
        self._end = self._end or "it was closed"
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start_child(self, bundle: bytes, timeout_s: float) -> None:
        """Have the supervisor start the child, give it its modules, and hear from it."""
        from pytest_inferbench.worker import child, supervisor

        self._channel = self._gateway.remote_exec(supervisor)
        env = {**_CHILD_ENV, **self.environment.env, TOKEN: self._token}
        self._channel.send((["-c", child.BOOTSTRAP], env))
        _, self.pid = self._receive(time.monotonic(), timeout_s, None)
        self._send((timeout_s, None), bundle)
        self.call("hello", timeout_s=timeout_s)

    def _exchange(
        self, frame: bytes, doing: str, timeout_s: float, on_wait: OnWait | None
    ) -> bytearray:
        """Send a frame and return the one that answers it."""
        started = time.monotonic()
        memory_mib = self.limits.memory_mib
        reply, size = bytearray(), -1
        try:
            self._send((float(timeout_s), memory_mib), frame)
            while len(reply) != size:
                item = self._receive(started, timeout_s + _GRACE_S, on_wait)
                if isinstance(item, bytes):
                    reply += item
                elif item[0] == "reply":
                    _, size, first = item
                    reply += first
                else:
                    after_s = time.monotonic() - started
                    raise death(item[1], doing, after_s, timeout_s, memory_mib)
        except (OSError, EOFError) as error:
            raise WorkerError(
                "IB-301",
                f"{doing}: the worker's supervisor is gone ({error})",
                "It was killed, or the connection to its machine is lost.",
            ) from error
        return reply

    def _receive(self, started: float, limit_s: float, on_wait: OnWait | None) -> Any:
        """Return the channel's next item; EOFError at its end, or when the time is up."""
        while (passed_s := time.monotonic() - started) < limit_s:
            try:
                return self._channel.receive(min(_WAIT_TICK_S, limit_s - passed_s))
            except self._channel.TimeoutError:
                if on_wait is not None:
                    on_wait(time.monotonic() - started)
            except self._channel.RemoteError as error:
                raise EOFError(str(error)) from error
        raise EOFError(f"silent for {limit_s:g} s")

    def _send(self, limits: tuple[float, float | None], data: bytes) -> None:
        """Send a call's limits and what the child's pipe takes: a length and the data."""
        first = len(data).to_bytes(8, "little") + data[:_CHUNK_BYTES]
        self._channel.send(("call", *limits, first))
        for start in range(_CHUNK_BYTES, len(data), _CHUNK_BYTES):
            self._channel.send(data[start : start + _CHUNK_BYTES])


class InProcessWorker:
    """The same verbs in this process, for a debugger: no limits, and a crash is a crash."""

    def __init__(self) -> None:
        self._servant: Servant | None = None

    def call(
        self,
        verb: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
        *,
        timeout_s: float | None = None,  # noqa: ARG002 - the interface's
        on_wait: OnWait | None = None,  # noqa: ARG002 - the interface's
    ) -> Reply:
        """Have a verb done; see `Worker.call`.

        Raises:
            WorkerError: The verb raised (IB-304, or its own code).
        """
        from pytest_inferbench.worker.child import describe_error
        from pytest_inferbench.worker.servant import Servant

        self._servant = self._servant or Servant()
        try:
            result, results = self._servant.handle(verb, fields or {}, dict(arrays or {}))
        except Exception as error:
            raise raised(describe_error(error), f"`{verb}` in process") from error
        return Reply(result, results)

    def close(self) -> None:
        """Close the open artifact, if any."""
        servant, self._servant = self._servant, None
        if servant is not None:
            servant.handle("close", {}, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
