"""An execnet gateway: takes an environment, gives a live one or a named reason; knows no verb."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.worker.failures import WorkerError, unreachable

if TYPE_CHECKING:
    from pytest_inferbench.worker.client import Environment

OLDEST_PYTHON = (3, 10)
TOKEN = "INFERBENCH_WORKER"
_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_CLOSE_S = 5.0
_DIAGNOSIS_S = 15.0
_DIAGNOSIS = (  # runs on Python 2 as well
    "import sys; print('inferbench python %d.%d.%d' % sys.version_info[:3]); "
    "import numpy; print('inferbench numpy')"
)
_GIVE_PYTHON = "Give the path of a Python, 3.10 or newer, that has numpy."


def start_gateway(environment: Environment, timeout_s: float) -> Any:
    """Return a gateway; unlike `makegateway`, give up on an interpreter that does not answer.

    Raises:
        WorkerError: There is none to be had (IB-305).
    """
    from execnet import HostNotFound, XSpec
    from execnet.gateway_base import get_execmodel
    from execnet.gateway_bootstrap import bootstrap
    from execnet.gateway_io import create_io

    where = f"ssh={' '.join(_SSH_OPTIONS)} {environment.ssh}" if environment.ssh else "popen"
    python = shlex.quote(_python(environment))
    spec = XSpec(f"{where}//python={python}//id=inferbench//execmodel=main_thread_only")
    try:
        io = create_io(spec, get_execmodel("thread"))
    except OSError as error:
        raise diagnosed(environment, str(error)) from error
    late = threading.Event()

    def give_up() -> None:
        late.set()
        io.kill()

    giving_up = threading.Timer(timeout_s, give_up)
    giving_up.daemon = True
    giving_up.start()
    try:
        gateway = bootstrap(io, spec)
        if io.popen.poll() is not None:  # execnet takes most failures for success
            raise EOFError("its connection closed")
    except (OSError, EOFError, AssertionError, HostNotFound) as error:
        _discard(io)
        if late.is_set():
            raise unreachable(
                environment,
                f"it did not answer within {timeout_s:g} s",
                "Raise worker.open_timeout in the settings, if it was only slow.",
            ) from error
        raise diagnosed(environment, f"{type(error).__name__}: {error}") from error
    except BaseException:
        _discard(io)
        raise
    finally:
        giving_up.cancel()
    return gateway


def end_gateway(gateway: Any, owner_pid: int, token: str) -> None:
    """End a gateway and all below it, in bounded time; forked copies of the owner do nothing.

    Args:
        gateway: What `start_gateway` returned.
        owner_pid: The process that it belongs to.
        token: The value of `TOKEN` in the worker's environment.
    """
    if os.getpid() != owner_pid:
        return
    io = gateway._io
    with contextlib.suppress(OSError, ValueError):
        os.set_blocking(io.popen.stdin.fileno(), False)  # closing flushes, and must not wait
        io.close_write()
    try:
        io.popen.wait(_CLOSE_S)
    except BaseException as error:
        io.kill()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        io.wait()
    gateway.join(timeout=1.0)
    with contextlib.suppress(OSError, ValueError):
        io.close_read()
    if io.popen.returncode != 0:
        _kill_marked(token)


def diagnosed(environment: Environment, symptom: str) -> WorkerError:
    """Return why an environment has no worker, asking its interpreter in the plainest way."""
    command = [_python(environment), "-c", _DIAGNOSIS]
    if environment.ssh:
        command = ["ssh", *_SSH_OPTIONS, *environment.ssh.split(), shlex.join(command)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DIAGNOSIS_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return unreachable(environment, str(error), _GIVE_PYTHON)
    return unreachable(environment, *_reading(done, symptom))


def _reading(done: subprocess.CompletedProcess[str], symptom: str) -> tuple[str, str]:
    """Return what the diagnosis says, and what to do about it."""
    lines, said = done.stdout.splitlines(), done.stderr.strip()
    answer = next((line for line in lines if line.startswith("inferbench python ")), None)
    if answer is None:
        said = (said or done.stdout.strip())[-500:]
        return f"no Python answered (exit code {done.returncode}): {said}", _GIVE_PYTHON
    version = answer.split()[2]
    if tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        return f"it is Python {version}, and 3.10 is the oldest that will do", _GIVE_PYTHON
    if lines[-1] != "inferbench numpy":
        return f"it has no numpy ({said.splitlines()[-1]})", "Install numpy in it."
    if lines[0] != answer:
        return (
            f"something else writes to its standard output, beginning {lines[0]!r} ({symptom})",
            "Silence banners and profile scripts for shells that are not interactive.",
        )
    return symptom, ""


def _discard(io: Any) -> None:
    io.kill()
    io.wait()
    for pipe in (io.popen.stdin, io.popen.stdout):
        with contextlib.suppress(OSError):
            pipe.close()


def _kill_marked(token: str) -> None:
    """Kill what a supervisor that was killed itself has left on this host."""
    mark = f"{TOKEN}={token}".encode()
    found = True
    while found:
        found = False
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True


def _python(environment: Environment) -> str:
    python = environment.python or ("python3" if environment.ssh else sys.executable)
    # execnet separates its options with "//"; symbolic links must stay, they are what a venv is
    return os.path.normpath(python if environment.ssh else os.path.expanduser(python))  # noqa: PTH111
