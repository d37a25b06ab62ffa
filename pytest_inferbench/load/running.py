"""Load made by a locust file in a process of its own: takes a plan, gives what came of it.

Of its own, because Locust replaces the standard library's sockets, and deadlocks where a thread
pool is alive already. Nothing outlives the one who asked: the process and its workers are a group,
which is killed at its limit, and by a watchdog of its own when its parent is gone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.options import arguments_of
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.result import LoadResult, from_text
from pytest_inferbench.locate import packaged_folder
from pytest_inferbench.untraced import tracing

_START_S = 60.0
"""Beyond what is measured: Locust's start, requests made, answers waited for, the end."""

_LINES = 30
_MISSED = 1
"""Locust's status where requests failed, among others: whoever asked reads that in the result."""


def run_load(plan: LoadPlan, python: Path | str = sys.executable) -> LoadResult:
    """Make load in a subprocess and wait for it.

    Failed requests are in the result: whether they matter is for others to say. Load of fewer
    clients or less time than was planned is none.

    Args:
        plan: What is to be made.
        python: The Python that has Locust.

    Raises:
        InferbenchError: No load could be made (IB-839), or not in time (IB-840).
    """
    if python == sys.executable and importlib.util.find_spec("locust") is None:
        raise InferbenchError(
            "IB-839",
            "load is made with Locust, which is not installed",
            "pip install 'pytest-inferbench[load]'",
        )
    with tempfile.TemporaryDirectory(prefix="inferbench-load-") as folder:
        written = Path(folder) / "results.json"
        log = Path(folder) / "log"
        status = _run(_command(plan, python, written), log, _limit_s(plan))
        said = log.read_text(encoding="utf-8", errors="replace")
        if not written.exists():
            raise _failed(plan, f"Locust ended with status {status}", said)
        results, faults = from_text(written.read_text(encoding="utf-8"), "what Locust wrote")
    return _whole(plan, results, faults, status)


def _whole(
    plan: LoadPlan, results: Sequence[LoadResult], faults: Sequence[str], status: int
) -> LoadResult:
    """Return the result, where it is that of the whole plan."""
    if status not in (0, _MISSED):
        faults = [*faults, f"Locust ended with status {status} after it had told its results"]
    if faults or not results:
        raise _failed(plan, "; ".join(faults) or "nothing was measured", "")
    return results[-1]


def _command(plan: LoadPlan, python: Path | str, written: Path) -> list[str]:
    locustfile = packaged_folder("locustfiles") / f"{plan.service}.py"
    command = [
        str(python),
        *("-m", "pytest_inferbench.load.watched", "-f", str(locustfile), "--headless"),
        *("--only-summary", "--loglevel", "WARNING", "--load-json", str(written)),
        *arguments_of(plan),
    ]
    if plan.processes > 1:
        command += ["--processes", str(plan.processes)]
    return command


def _limit_s(plan: LoadPlan) -> float:
    # A server may keep clients waiting for their first answers, and for their last ones.
    return plan.warmup_s + plan.seconds + 2 * plan.request_timeout_s + _START_S


def _run(command: list[str], log: Path, limit_s: float) -> int:
    # Settings of the user's for Locust do not hold for what a plan says.
    environment = {name: each for name, each in os.environ.items() if not name.startswith("LOCUST")}
    for name in tracing(environment):
        del environment[name]
    folder = str(log.parent)  # where there is no locust.conf
    roots = [each for each in sys.path if each]
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *roots])
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,  # closed by the system when we are gone: see `watched`
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            said = log.read_text(encoding="utf-8", errors="replace")
            raise InferbenchError(
                "IB-840", f"load did not end within {limit_s:.0f} s{_tail(said)}"
            ) from None
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole group; workers that outlived their master included."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _failed(plan: LoadPlan, why: str, said: str) -> InferbenchError:
    return InferbenchError("IB-839", f"the load on {plan.url} was not made: {why}{_tail(said)}")


def _tail(said: str) -> str:
    lines = said.strip().splitlines()[-_LINES:]
    return "".join(f"\n    {line}" for line in lines)
