"""Watches one server: started with a command, it ends when asked, or when who asked is gone.

Run as a process of its own from this file's text, so standard library and Linux only. Whatever
happens to the process that wanted the server, SIGKILL included, the server, its own children and
their shared memory are gone soon after: the pipe from it ends, and this process is a subreaper
and kills all that is below it.

It takes one line of JSON on its standard input and is told by a further byte to end the server,
gently or at once; it gives lines on its standard output: ``started PID``, then ``ended CODE``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SHARED_MEMORY = Path("/dev/shm")
GENTLY, AT_ONCE = "g", "k"
"""What a guard is told."""

_ALONE = "alone"
_TICK_S = 0.1
_FIRST_TICK_S = 0.005


def main() -> None:
    """Serve one order."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # the owner's to answer, not ours
        signal.signal(name, signal.SIG_IGN)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    order = json.loads(_first_line())
    parent, here = os.getppid(), os.getpid()

    def tie() -> None:
        for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != here:
            os._exit(1)

    with open(order["log"], "ab") as log:  # noqa: PTH123
        server = subprocess.Popen(
            order["command"],
            stdin=subprocess.PIPE if order["holds_input"] else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=order["env"],
            cwd=order["folder"],
            start_new_session=True,
            preexec_fn=tie,  # this process has one thread  # noqa: PLW1509
        )
    _tell(f"started {server.pid}")
    why = ""
    try:
        why = _why_to_end(server, parent)
        if why == GENTLY:
            with contextlib.suppress(ProcessLookupError):
                server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(order["exit_s"])
    finally:
        end_all(server)
        sweep(order["prefix"])
        if why == _ALONE:  # nobody is left who would read its log
            shutil.rmtree(order["folder"], ignore_errors=True)
    _tell(f"ended {server.returncode}")


def _first_line() -> bytes:
    """Read what stands before the first line's end, and no byte further: the next one is heard."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(1)
        line += byte
    return bytes(line)


def _why_to_end(server: subprocess.Popen[bytes], parent: int) -> str:
    """Wait; return what was asked, that nobody is left to ask, or nothing if it ended by itself."""
    tick_s = _FIRST_TICK_S
    while server.poll() is None:
        tick_s = min(2 * tick_s, _TICK_S)
        if select.select([0], [], [], tick_s)[0]:
            return os.read(0, 1).decode() or _ALONE
        if os.getppid() != parent:
            return _ALONE
        _reap(server)
    return ""


def _reap(server: subprocess.Popen[bytes]) -> None:
    """Take the status of orphans that came to this process, but never the server's own."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid == server.pid:
                return
            os.waitpid(found.si_pid, 0)


def end_all(server: subprocess.Popen[bytes]) -> None:
    """Kill the server's process group, and every orphan of it that comes to this process."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.killpg(server.pid, signal.SIGKILL)
        for pid in _children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if server.poll() is not None:  # before waitpid(-1) could take its status
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
        time.sleep(0.002)


def _children() -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]
    return []


def sweep(prefix: str) -> None:
    """Remove the segments of shared memory whose names begin so."""
    for path in _SHARED_MEMORY.glob(f"{prefix}*") if prefix else ():
        with contextlib.suppress(OSError):
            path.unlink()


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # whoever wanted to know may be gone
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
