"""One server's process: takes a command's order, gives its pid, its log and its end.

It belongs to this process: `guard.py` watches over it and ends it whatever happens here. Its log,
its folder and its shared memory are gone with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving import guard
from pytest_inferbench.serving.command import Installation, Order, command_of, environment_of
from pytest_inferbench.worker.supervisor import descendants

SEGMENTS = "inferbench-"
"""How the names of all shared memory begin that a server of ours, or a client of it, has."""

TOKEN_VARIABLE = "INFERBENCH_WORKER"
"""What marks the processes of a worker; its supervisor removes what their names say is theirs."""


def own_prefix() -> str:
    """Return how the names of all begin that this process leaves outside of itself."""
    return f"{SEGMENTS}{os.environ.get(TOKEN_VARIABLE) or os.getpid()}-"


_STUB = "triton_python_backend_stub"
_FAULT = re.compile(r"E\d{4} |error: |\w*(Error|Exception|Fault)\b")
_USUAL = re.compile(r"CudaDriverHelper|NVML")  # said wherever there is no GPU
_LAST_LINES = 25
_STOP_MARGIN_S, _GUARD_S = 10.0, 5.0


class Process:
    """A server's process with its guard, its log, its own folder and its shared memory.

    Attributes:
        pid: The server's.
        prefix: How the names of its shared memory begin.
        log: Its log.
    """

    def __init__(self, installation: Installation, order: Order, ports: Sequence[int]) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.prefix = f"{own_prefix()}{self.id}"
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
            "holds_input": bool(installation.image),  # a container's server ends with it
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
        if not _is_live(self.pid):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(_GUARD_S)  # which is about to tell how
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
        """Return what went wrong by its log, else its last lines, to end a message with."""
        lines = [line for line in self.log_text().splitlines() if line[:1] not in ("|", "+", "")]
        faults = [line for line in lines if _FAULT.match(line) and not _USUAL.search(line)]
        kept = "\n".join(f"    {line}" for line in (faults or lines)[-_LAST_LINES:])
        return f"\n{kept}" if kept else ""

    def stop(self, *, keep_log: bool = False, gently: bool = True) -> None:
        """End it and all below it; a second time does nothing."""
        ends = (self._guard.stdin, self._guard.stdout)
        if self._guard.poll() is None:
            assert self._guard.stdin is not None
            with contextlib.suppress(OSError):
                self._guard.stdin.write((guard.GENTLY if gently else guard.AT_ONCE).encode())
                self._guard.stdin.flush()
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


def _is_live_stub(pid: int) -> bool:
    """Whether a process is a stub that runs; one that ended may still be waited for."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return command.partition(b"\0")[0].decode(errors="replace").endswith(_STUB) and _is_live(pid)


def _is_live(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")
