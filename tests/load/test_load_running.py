"""Load in a process of its own, on a real Triton: what comes of it, and what is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.running import run_load
from pytest_inferbench.locate import packaged_folder

# Locust itself must not be imported here: it would replace pytest's sockets and threads.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("locust") is None, reason="load is made with Locust"),
]

SHARED = Path("/dev/shm")
QUICK = {"model": "rows", "seconds": 0.6, "warmup_s": 0.2}


@pytest.fixture
def grpc(triton):
    """Return the address of the server's gRPC."""
    return f"grpc://{triton['grpc']}"


@pytest.mark.parametrize(
    ("scheme", "fields"),
    [
        ("http", {}),
        ("http", {"encoding": "json"}),
        ("http", {"shared_memory": True}),
        ("grpc", {"shared_memory": True}),
        ("grpc", {"processes": 2}),
    ],
)
def test_sixteen_clients_get_their_own_answers(triton, grpc, scheme, fields):
    url = grpc if scheme == "grpc" else triton["http"]
    plan = LoadPlan(url, clients=16, samples=64, verify=True, **QUICK, **fields)
    result = run_load(plan)
    assert result.failures == {}
    assert result.requests > 16
    assert result.histogram.count == result.requests
    assert result.clients == 16
    assert result.processes == plan.processes
    assert result.protocol == plan.protocol
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.client_cpu_s > 0
    assert result.seconds > plan.seconds * 0.9


def test_an_answer_that_is_another_s_fails(grpc, tmp_path):
    weight = np.random.default_rng(0).normal(0, 1, (8, 4)).astype(np.float32)
    x = np.random.default_rng(1).normal(0, 1, (8, 1, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "right.npz", y=x @ weight)
    swapped = [1, 0, *range(2, 8)]
    np.savez(tmp_path / "swapped.npz", y=(x @ weight)[swapped])
    plan = LoadPlan(grpc, clients=8, samples=8, inputs=tmp_path / "x.npz", **QUICK)
    assert run_load(plan.replace(expected=tmp_path / "right.npz")).failures == {}
    wrong = run_load(plan.replace(expected=tmp_path / "swapped.npz"))
    assert set(wrong.failures) == {"wrong answer: it belongs to another request"}
    # Two of eight clients send what was swapped.
    assert 0 < wrong.failure_ratio < 0.5


def test_an_open_loop_asks_as_often_as_it_is_told(grpc):
    plan = LoadPlan(grpc, clients=32, rate_per_s=100.0, arrivals="constant", **QUICK)
    result = run_load(plan.replace(seconds=2.0))
    assert result.failures == {}
    assert result.per_s == pytest.approx(100, rel=0.1)
    assert result.rate_per_s == 100


def test_an_open_loop_beyond_capacity_shows_its_queue(grpc):
    closed = run_load(LoadPlan(grpc, clients=2, **QUICK))
    plan = LoadPlan(grpc, clients=2, rate_per_s=closed.per_s * 3, **QUICK)
    flooded = run_load(plan.replace(seconds=1.0))
    assert flooded.p50_ms > 5 * closed.p50_ms  # from when they were due; nobody asked less
    assert flooded.late > flooded.requests / 2
    assert flooded.failures["not sent: every client was waiting"] > 0


def test_a_model_that_is_not_there_is_said(grpc):
    with pytest.raises(InferbenchError, match="nobody") as raised:
        run_load(LoadPlan(grpc, **{**QUICK, "model": "nobody"}))
    assert raised.value.code == "IB-839"


def test_a_server_that_never_answers_ends_in_a_named_error():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(InferbenchError, match="timeout"):
            run_load(LoadPlan(url, request_timeout_s=0.5, **QUICK))


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def killed():
    """Return how to kill whoever asked for load, which gives the group that made it."""

    def run(plan):
        program = f"""
            import sys
            from pytest_inferbench.load import running
            from pytest_inferbench.load.plan import LoadPlan
            popen = running.subprocess.Popen
            def told(*args, **kwargs):
                process = popen(*args, **kwargs)
                print(process.pid, flush=True)
                return process
            running.subprocess.Popen = told
            running.run_load({plan!r})
        """
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
        )
        group = int(parent.stdout.readline())
        time.sleep(3.0)
        assert alive(group)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        give_up_s = time.monotonic() + 10
        while alive(group) and time.monotonic() < give_up_s:
            time.sleep(0.05)
        assert not alive(group)
        return group

    return run


def test_nothing_outlives_a_parent_that_was_killed(grpc, killed):
    killed(LoadPlan(grpc, "rows", clients=4, processes=2, seconds=60))


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_shared_memory_does_either(triton, grpc, killed, scheme):
    url = grpc if scheme == "grpc" else triton["http"]
    group = killed(LoadPlan(url, "rows", clients=4, shared_memory=True, seconds=60))
    assert list(SHARED.glob(f"inferbench-{group}-*")) == []
    # The server forgets nothing by itself, and takes more.
    plan = LoadPlan(url, clients=4, shared_memory=True, verify=True, **QUICK)
    assert run_load(plan).failures == {}


def locust(*arguments, folder):
    file = packaged_folder("locustfiles") / "triton.py"
    command = [sys.executable, "-m", "locust", "-f", file, "--headless", "--only-summary"]
    return subprocess.run(
        [*map(str, command), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_plain_locust_holds_load_against_the_settings(grpc, tmp_path):
    plain = ("--host", grpc, "--model", "rows", "-u", "16", "-r", "16", "-t", "4s")
    good = locust(*plain, "--objective", "p95=60s", folder=tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "PASSED" in good.stdout
    Path(tmp_path, "inferbench.toml").write_text('[serving.objectives]\np95 = "1 us"\n')
    bad = locust(*plain, folder=tmp_path)
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "FAILED p95 is" in bad.stdout
    wrong = locust(*plain, "--objective", "p42=1ms", folder=tmp_path)
    assert wrong.returncode == 2
    assert "IB-838" in wrong.stderr
