"""Runs the programs that install: takes a command, gives what it printed or a named error.

The program and all that it started are gone when this returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

from pytest_inferbench.errors import InferbenchError

_LAST_LINES = 12


def run_step(command: Sequence[str], what: str, limit_s: float) -> str:
    """Run a command to its end and return what it printed.

    Args:
        command: It.
        what: What it installs, for the message.
        limit_s: How long it may take.

    Raises:
        InferbenchError: It failed, or took too long (IB-810).
    """
    # pip's own settings hold, and so does where it is told to look; a Python's own do not.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(what, f"{command[0]} cannot be started: {error}") from error
    try:
        printed, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise _failed(what, f"it took longer than {limit_s:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        lines = [line for line in f"{printed}\n{said}".splitlines() if line.strip()]
        raise _failed(what, f"exit status {process.returncode}\n" + "\n".join(lines[-_LAST_LINES:]))
    return printed


def ask_python(python: str, code: str, limit_s: float, what: str) -> Any:
    """Return what code prints as JSON in a Python.

    Raises:
        InferbenchError: It fails there (IB-810).
    """
    printed = run_step([python, "-c", code], what, limit_s)
    try:
        return json.loads(printed.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise _failed(what, f"{python} answered {printed[-200:]!r}") from error


def _failed(what: str, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-810",
        f"the Triton server could not be installed: {what}: {why}",
        "It needs the package index once. INFERBENCH_TRITON_SERVER names a server that is there.",
    )
