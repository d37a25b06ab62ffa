"""An execnet gateway: takes an environment, gives a live one or a named reason; knows no verb."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.untraced import tracing
from pytest_inferbench.worker.failures import WorkerError, unreachable

if TYPE_CHECKING:
    from pytest_inferbench.worker.client import Environment

OLDEST_PYTHON = (3, 10)
TOKEN = "INFERBENCH_WORKER"
# Never a question, never for ever: a host that is silent for a minute is gone. No master: it would
# outlive us with our pipes open.
_SSH_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlMaster=no"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
_SSH_FAILED = 255
_CLOSE_S = 5.0
_DIAGNOSIS_S = 15.0
_DIAGNOSIS = (  # runs on Python 2 as well
    "import sys; print('inferbench python %d.%d.%d' % sys.version_info[:3]); "
    "import numpy; print('inferbench numpy')"
)
_GIVE_PYTHON = "Give the path of a Python, 3.10 or newer, that has numpy."
_GIVE_HOST = "Run that `ssh` by hand: it must work without a password and without a question."


def start_gateway(environment: Environment, timeout_s: float) -> Any:
    """Return a gateway; unlike `makegateway`, give up on an interpreter that does not answer.

    Raises:
        WorkerError: There is none to be had (IB-305).
    """
    from execnet import HostNotFound, XSpec
    from execnet.gateway_base import get_execmodel
    from execnet.gateway_bootstrap import bootstrap
    from execnet.gateway_io import Popen2IOMaster, popen_bootstrapline

    # The spec only says that a bare interpreter is at the other end; the command is ours, because
    # execnet has ssh compress, which weights and images only lose time by.
    spec = XSpec("popen//python=any//id=inferbench//execmodel=main_thread_only")
    command = python_command(environment, popen_bootstrapline, unbuffered=True)
    try:
        io = Popen2IOMaster(command, get_execmodel("thread"))
        if environment.ssh:
            io.remoteaddress = environment.ssh  # by which execnet tells that ssh itself failed
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


def end_gateway(gateway: Any, environment: Environment, owner_pid: int, token: str) -> None:
    """End a gateway and all below it, in bounded time; forked copies of the owner do nothing.

    Args:
        gateway: What `start_gateway` returned.
        environment: What it was given.
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
    if io.popen.returncode == 0:
        return
    if environment.ssh is None:
        kill_marked(f"{TOKEN}={token}")
    else:
        _kill_marked_there(environment, f"{TOKEN}={token}")


def diagnosed(environment: Environment, symptom: str) -> WorkerError:
    """Return why an environment has no worker, asking its interpreter in the plainest way."""
    try:
        done = subprocess.run(
            python_command(environment, _DIAGNOSIS),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DIAGNOSIS_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return unreachable(environment, str(error), _GIVE_PYTHON)
    return unreachable(environment, *_reading(done, symptom, environment.ssh is not None))


def _reading(
    done: subprocess.CompletedProcess[str], symptom: str, over_ssh: bool
) -> tuple[str, str]:
    """Return what the diagnosis says, and what to do about it."""
    lines, said = done.stdout.splitlines(), done.stderr.strip()
    answer = next((line for line in lines if line.startswith("inferbench python ")), None)
    if answer is None:
        said = (said or done.stdout.strip())[-500:]
        hint = _GIVE_HOST if over_ssh and done.returncode == _SSH_FAILED else _GIVE_PYTHON
        return f"no Python answered (exit code {done.returncode}): {said}", hint
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


def kill_marked(mark: str) -> None:
    """Kill what a supervisor that was killed itself has left on this host."""
    found = True
    while found:
        found = False
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True


def _kill_marked_there(environment: Environment, mark: str) -> None:
    """Do the same on another host, if it can still be reached."""
    imports = "import contextlib, os, signal\nfrom pathlib import Path\n"
    script = f"{imports}{inspect.getsource(kill_marked)}kill_marked({mark!r})\n"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            python_command(environment, script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_DIAGNOSIS_S,
            check=False,
        )


def _untraced() -> list[str]:
    """Return what keeps a coverage tool of ours out of a command; it leaves no process behind."""
    found = tracing(os.environ)
    return ["env", *(f"-u{name}" for name in found)] if found else []


def python_command(environment: Environment, script: str, *, unbuffered: bool = False) -> list[str]:
    """Return the command that runs a script in an environment's interpreter."""
    options = ["-u"] if unbuffered else []
    if environment.ssh is None:
        # Symbolic links must stay: they are what a virtual environment is.
        python = os.path.expanduser(environment.python or sys.executable)  # noqa: PTH111
        return [*_untraced(), python, *options, "-c", script]
    python = environment.python or "python3"
    # Its user's shell expands `~` only where it is not quoted.
    home, rest = ('"$HOME"/', python[2:]) if python.startswith("~/") else ("", python)
    arguments = shlex.join([*options, "-c", script])
    there = f"exec {home}{shlex.quote(rest)} {arguments}"
    return ["ssh", *_SSH_OPTIONS, *environment.ssh.split(), there]
