"""Runs one of the fixtures' programs in a Python that has what it needs.

Takes a command; relays what it says as progress, and gives a named error if it does not succeed.
The program and all that it started are gone when this returns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_inferbench.errors import InferbenchError

MISSING = 3
"""The exit status of a program whose packages are missing; the last line names them."""

_LAST_LINES = 40


@dataclass(frozen=True)
class Program:
    """How to run programs for one model.

    Attributes:
        model: What is made, as the settings name it.
        extra: What installs the packages that it needs.
        python: The interpreter.
        needs: Those packages.
        say: Told every line of the program's output.
    """

    model: str
    extra: str
    python: str
    needs: Sequence[str]
    say: Callable[[str], None]

    def run(self, command: Sequence[str], limit_s: float) -> None:
        """Run it to its end.

        Raises:
            InferbenchError: IB-471 packages are missing, IB-472 it failed, IB-473 it took longer
                than `limit_s`, IB-474 there is no such Python.
        """
        try:
            process = subprocess.Popen(
                [self.python, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # weights are the same whatever the hash seed; a GPU has no part in it
                env={**os.environ, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""},
                start_new_session=True,
            )
        except OSError as error:
            raise InferbenchError(
                "IB-474",
                f"{self.model} is built by {self.python}, which cannot be started: {error}",
                "INFERBENCH_EXPORT_PYTHON, or --python, names the Python that builds models.",
            ) from error
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    lines.append(line.rstrip())
                    if line.startswith(_PROGRESS):
                        self.say(f"{self.model}: {line.removeprefix(_PROGRESS).rstrip()}")
            status = process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
        if late.is_set():
            raise InferbenchError(
                "IB-473",
                f"{self.model} was not built within {limit_s:g} s",
                "Is the machine short of memory? A model of the size `small` is built in seconds.",
            )
        self._check(status, list(lines))

    def _check(self, status: int, lines: Sequence[str]) -> None:
        last = lines[-1] if lines else "it said nothing"
        if status == MISSING:
            missing = ", ".join(last.split()[1:])
            raise InferbenchError(
                "IB-471",
                f"{self.model} cannot be built: {self.python} has no {missing}",
                f"Install the extra there, pip install 'pytest-inferbench[{self.extra}]', or name"
                " a Python that has it in INFERBENCH_EXPORT_PYTHON.",
            )
        if status:
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise InferbenchError(
                "IB-472",
                f"{self.model} could not be built ({how}): {last}",
                f"It needs {', '.join(self.needs)}; docs/models.md has the versions that were"
                " tried.",
            )


_PROGRESS = "progress: "


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the program's process group: it may have left children, or not have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
