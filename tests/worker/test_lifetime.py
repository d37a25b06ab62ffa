"""Whatever ends first, nothing is left: controllers that are killed, interrupted, or just end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CONTROLLER = """
import sys
sys.path[:0] = [{here!r}]
from pytest_inferbench.worker.client import launch
worker = launch(modules=["adversaries:Adversary"])
worker.call("open", {{
    "backend_module": "adversaries:Adversary", "artifact": "", "options": {{"deed": {deed!r}}}
}})
import numpy as np
print(worker.pid, worker.supervisor_pid, flush=True)
{then}
"""
INFER = 'worker.call("infer", {}, {"x": np.ones((1, 4), np.float32)})'


def controller(deed: str, then: str) -> tuple[subprocess.Popen[str], int, int]:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER.format(here=here, deed=deed, then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid, supervisor_pid = map(int, process.stdout.readline().split())
    return process, pid, supervisor_pid


def wait_for_hang(pid: int, children: int) -> None:
    """Wait until the deed is under way: the backend has called and its children are there."""
    deadline = time.monotonic() + 10
    while len(psutil.Process(pid).children()) < children and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("deed", ["hold_the_gil", "grandchildren_then_hang"])
def test_a_controller_that_is_killed_leaves_nothing(mark, left_of, how, deed):
    process, pid, _ = controller(deed, INFER)
    wait_for_hang(pid, 2 if deed.startswith("grand") else 0)
    process.send_signal(how)
    assert process.wait(5) == -how
    assert not left_of(mark, 5.0)


def test_ctrl_c_during_a_call_ends_everything_at_once(mark, left_of):
    process, pid, _ = controller("grandchildren_then_hang", INFER)
    wait_for_hang(pid, 2)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    assert not left_of(mark, 0.0)
    assert time.monotonic() - started < 30.0  # the call's own limit is 60 s


def test_a_terminals_ctrl_c_reaches_the_whole_group_and_is_no_different(mark, left_of):
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER.format(here=here, deed="spin", then=INFER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert stderr.count("Traceback") == 1  # the supervisor adds none of its own
    assert not left_of(mark, 0.0)


@pytest.mark.parametrize("deed", ["hold_the_gil", "grandchildren_then_hang"])
def test_a_supervisor_that_is_killed_takes_all_along(mark, left_of, deed):
    process, pid, supervisor_pid = controller(deed, INFER)
    wait_for_hang(pid, 2 if deed.startswith("grand") else 0)
    os.kill(supervisor_pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=10)
    assert "[IB-301]" in stderr
    assert "supervisor is gone" in stderr
    assert not left_of(mark, 5.0)


@pytest.mark.parametrize(
    "then", ["pass", "raise SystemExit(0)", "import os; os._exit(0)", "worker.close()"]
)
def test_a_controller_that_just_ends_leaves_nothing(mark, left_of, then):
    process, _, _ = controller("nothing", f"{INFER}\n{then}")
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    assert not left_of(mark, 5.0)


def test_a_forked_copy_of_the_controller_does_not_end_its_worker(mark):
    then = f"""
import os
pid = os.fork()
if pid == 0:
    worker.close()
    os._exit(0)
os.waitpid(pid, 0)
{INFER}
print("answered")
"""
    process, _, _ = controller("nothing", then)
    stdout, stderr = process.communicate(timeout=10)
    assert "answered" in stdout, stderr


def test_a_fork_that_outlives_the_controller_does_not_keep_its_worker(mark):
    then = """
import os, signal, time
fork = os.fork()
if fork == 0:
    time.sleep(60)
    os._exit(0)
print(fork, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process, pid, supervisor_pid = controller("nothing", then)
    process.wait(5)
    assert process.stdout is not None
    fork = int(process.stdout.readline())
    deadline = time.monotonic() + 10.0
    while any(map(psutil.pid_exists, (pid, supervisor_pid))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert psutil.pid_exists(fork)  # it still holds the other end of the supervisor's pipe
    os.kill(fork, signal.SIGKILL)
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(supervisor_pid)
    process.communicate()
