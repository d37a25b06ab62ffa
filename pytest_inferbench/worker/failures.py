"""What a user reads when a worker fails: takes facts, gives a `WorkerError`; does nothing else."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.worker.client import Environment

_SHOWN_LINES = 12
_HINTS = {
    signals.SIGSEGV: "It crashed in native code: the runtime, a custom operator or the driver.",
    signals.SIGABRT: "Native code gave up: an assertion, or a C++ exception that nobody caught.",
    signals.SIGILL: "It was built for another CPU.",
    signals.SIGBUS: "A mapped file shrank, or /dev/shm is full.",
    signals.SIGKILL: "Somebody killed it; the kernel does when memory ends (see dmesg).",
}


class WorkerError(InferbenchError):
    """What became of a worker or a call.

    Attributes:
        signal: The number of the signal that ended the worker.
        exit_code: The code it exited with.
        stderr_tail: The last lines that it printed.
        remote_traceback: The traceback of what it raised.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        signal: int | None = None,
        exit_code: int | None = None,
        stderr_tail: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(code, message, hint)
        self.signal = signal
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail
        self.remote_traceback = remote_traceback


def death(
    facts: Mapping[str, Any], doing: str, after_s: float, timeout_s: float, memory_mib: float | None
) -> WorkerError:
    """Return the error for a worker that its supervisor reports dead.

    Args:
        facts: The supervisor's report.
        doing: The verb and the environment.
        after_s: How long the call had run.
        timeout_s: What it was allowed.
        memory_mib: The memory it was allowed.
    """
    tail = str(facts["stderr_tail"])
    if facts["reason"] == "timeout":
        code = "IB-302"
        what = f"gave no answer in {timeout_s:g} s and was killed"
        hint = "Its last lines show where it was. Raise the limit if it was only slow."
    elif facts["reason"] == "memory":
        code = "IB-303"
        took_mib, limit_mib = facts["peak_mib"], memory_mib or 0.0
        what = (
            f"took {took_mib:.0f} MiB, {took_mib - limit_mib:.0f} over its limit of "
            f"{limit_mib:g} MiB, after {after_s:.1f} s, and was killed"
        )
        hint = "Raise the memory limit if the model needs that much."
    else:
        code = "IB-301"
        how, hint = _how_it_ended(facts)
        what = f"{how} after {after_s:.1f} s"
    shown = "".join(f"\n    | {line}" for line in tail.splitlines()[-_SHOWN_LINES:])
    return WorkerError(
        code,
        f"{doing}: the worker {what}" + (f"; its last lines:{shown}" if shown else ""),
        hint,
        signal=facts["signal"],
        exit_code=facts["exit_code"],
        stderr_tail=tail,
    )


def raised(error: Mapping[str, str], doing: str) -> WorkerError:
    """Return the error for an exception that a verb raised."""
    if error["code"]:
        return WorkerError(
            error["code"],
            f"{doing}: {error['message']}",
            error["hint"],
            remote_traceback=error["traceback"],
        )
    message = f"{doing} raised {error['type']}: {error['message']}"
    frames = [line for line in error["traceback"].splitlines() if line.startswith("  File")]
    hint = f"Raised at{frames[-1].removeprefix('  File')}." if frames else ""
    return WorkerError("IB-304", message, hint, remote_traceback=error["traceback"])


def unreachable(environment: Environment, why: str, hint: str = "") -> WorkerError:
    """Return the error for a worker that could not be started or reached."""
    host = f" on {environment.ssh}" if environment.ssh else ""
    python = environment.python or "this Python"
    return WorkerError(
        "IB-305",
        f"environment {environment.name}: no worker could be started with {python}{host}: {why}",
        hint,
    )


def _how_it_ended(facts: Mapping[str, Any]) -> tuple[str, str]:
    if facts["killed_by_us"]:
        return "closed its pipes without ending and was killed", "Did it close file descriptors?"
    if facts["signal"] is not None:
        number = facts["signal"]
        known = number in set(signals.Signals)
        name = signals.Signals(number).name if known else f"signal {number}"
        return f"died of {name} ({number})" if known else f"died of {name}", _HINTS.get(number, "")
    return f"exited with code {facts['exit_code']}", "Something in it called exit."
