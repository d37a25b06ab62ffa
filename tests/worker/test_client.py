"""A crash is a result: real processes, real signals, and nothing left afterwards."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import psutil
import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import (
    Environment,
    InProcessWorker,
    Limits,
    Worker,
    WorkerError,
    launch,
)

MODULES = ["adversaries:Adversary"]
X = {"x": np.ones((1, 4), np.float32)}


def opened(deed: str, memory_mib: float | None = None, **options: object) -> Worker:
    worker = launch(limits=Limits(memory_mib=memory_mib), modules=MODULES)
    options = {"deed": deed, **options}
    worker.call("open", {"backend_module": MODULES[0], "artifact": "none", "options": options})
    return worker


def failure(deed: str, timeout_s: float = 30.0, memory_mib: float | None = None) -> WorkerError:
    with opened(deed, memory_mib) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, X, timeout_s=timeout_s)
        if caught.value.code in {"IB-301", "IB-302", "IB-303"}:
            with pytest.raises(WorkerError, match="gone") as later:
                worker.call("infer", {}, X)
            assert later.value.code == "IB-306"
        return caught.value


@pytest.mark.parametrize(
    ("deed", "code", "ended_by"),
    [
        ("segfault", "IB-301", {"signal": signal.SIGSEGV}),
        ("leave", "IB-301", {"exit_code": 7}),
        ("leave_politely", "IB-301", {"exit_code": 9}),
        ("print_and_die", "IB-301", {"signal": signal.SIGABRT}),
        ("close_pipes", "IB-301", {"signal": signal.SIGKILL}),
        ("grandchildren_then_crash", "IB-301", {"signal": signal.SIGSEGV}),
        ("raise_an_error", "IB-304", {}),
    ],
)
def test_each_end_is_one_named_error(mark, left_of, deed, code, ended_by):
    error = failure(deed)
    assert error.code == code
    assert {key: getattr(error, key) for key in ended_by} == ended_by
    assert not left_of(mark, 0.0)


@pytest.mark.parametrize("deed", ["hold_the_gil", "ignore_sigterm", "grandchildren_then_hang"])
def test_a_hang_is_killed_at_its_limit_and_says_where_it_was(mark, left_of, deed):
    error = failure(deed, timeout_s=0.8)
    assert error.code == "IB-302"
    assert error.signal == signal.SIGKILL
    assert "adversaries" in error.stderr_tail
    assert not left_of(mark, 0.0)


@pytest.mark.parametrize("deed", ["print_forever", "answer_forever"])
def test_a_flood_is_no_way_round_the_limit(mark, left_of, deed):
    started = time.monotonic()
    assert failure(deed, timeout_s=0.5).code == "IB-302"
    assert time.monotonic() - started < 30  # it would go on for ever
    assert not left_of(mark, 0.0)


@pytest.mark.parametrize("deed", ["eat_memory", "eat_memory_in_a_grandchild"])
def test_memory_over_the_limit_is_killed(mark, left_of, deed):
    error = failure(deed, memory_mib=400.0)
    assert error.code == "IB-303"
    assert "400 MiB" in error.message
    assert not left_of(mark, 0.0)


def test_a_crash_says_where_it_was_and_what_was_printed_last(mark):
    error = failure("segfault")
    assert "SIGSEGV" in error.message
    assert "in segfault" in error.stderr_tail  # faulthandler's stack
    assert error.message.count("\n") <= 14
    assert "the last words" in failure("print_and_die").stderr_tail


def test_an_exception_comes_with_its_traceback_and_the_worker_goes_on(mark):
    with opened("raise_an_error") as worker:
        with pytest.raises(WorkerError, match="ValueError: the value is of no use") as caught:
            worker.call("infer", {}, X)
        assert 'raise ValueError("the value is of no use")' in caught.value.remote_traceback
        assert worker.call("hello").fields["pid"] == worker.pid


def test_errors_of_ours_keep_their_code_and_hint(mark):
    with opened("nothing") as worker:
        with pytest.raises(WorkerError, match="missing input 'x'") as caught:
            worker.call("infer", {}, {"images": X["x"]})
        assert caught.value.code == "IB-320"
        assert "x: float32" in caught.value.hint
        for verb, fields in (("fly", {}), ("open", {}), ("infer", {"speed": 3})):
            with pytest.raises(InferbenchError) as caught:
                worker.call(verb, fields)
            assert caught.value.code == "IB-311"


def test_a_crash_while_opening_is_no_different(mark):
    with pytest.raises(WorkerError) as caught:
        opened("segfault", when="open")
    assert (caught.value.code, caught.value.signal) == ("IB-301", signal.SIGSEGV)


def test_a_chatty_backend_breaks_nothing_and_costs_no_memory(mark):
    with opened("print_megabytes") as worker:
        supervisor = psutil.Process(worker.supervisor_pid)
        before = supervisor.memory_info().rss
        for _ in range(3):
            np.testing.assert_array_equal(worker.call("infer", {}, X).arrays["y"], X["x"] + 1)
        assert supervisor.memory_info().rss - before < 8 * 2**20


@pytest.mark.parametrize("deed", ["close_output", "grandchildren"])
def test_harmless_oddities_are_survived(mark, deed):
    with opened(deed) as worker:
        for _ in range(2):
            worker.call("infer", {}, X)


def test_garbage_on_the_pipe_is_an_error_not_a_reply(mark):
    with opened("talk_on_the_pipe") as worker, pytest.raises(WorkerError) as caught:
        worker.call("infer", {}, X, timeout_s=1.0)
    assert caught.value.code in {"IB-301", "IB-302"}


def test_what_a_closed_worker_left_behind_is_gone_when_close_returns(mark, left_of):
    worker = opened("grandchildren")
    worker.call("infer", {}, X)
    worker.close()
    worker.close()
    assert not left_of(mark, 0.0)


def test_a_forgotten_worker_is_ended(mark, left_of):
    worker = launch()
    assert psutil.pid_exists(worker.pid)
    del worker
    assert not left_of(mark, 2.0)


def test_arrays_of_any_size_come_back_and_belong_to_the_caller(mark):
    with opened("nothing") as worker:
        big = np.arange(3_000_000, dtype=np.float32)[None]
        reply = worker.call("infer", {}, {"x": big})
        np.testing.assert_array_equal(reply.arrays["y"], big + 1)
        reply.arrays["y"][0, 0] = 5.0
        assert reply.fields["infer_ms"] > 0
        assert worker.call("infer", {}, {"x": np.zeros((1, 0), np.float32)}).arrays["y"].size == 0


def test_waiting_is_reported(mark):
    heard: list[float] = []
    with opened("slow") as worker:
        worker.call("infer", {}, X, on_wait=heard.append)
    assert len(heard) == 1


def test_an_exception_while_waiting_ends_the_worker(mark, left_of):
    def interrupt(_passed_s: float) -> None:
        raise KeyboardInterrupt

    with opened("hold_the_gil") as worker:
        with pytest.raises(KeyboardInterrupt):
            worker.call("infer", {}, X, on_wait=interrupt)
        assert not left_of(mark, 0.0)


@pytest.mark.parametrize("victim", ["pid", "supervisor_pid"])
def test_a_worker_killed_from_outside_is_named(mark, left_of, victim):
    with opened("nothing") as worker:
        os.kill(getattr(worker, victim), signal.SIGKILL)
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, X)
        assert caught.value.code == "IB-301"
    assert not left_of(mark, 5.0)


def test_the_worker_gets_its_variables_and_no_telemetry(mark):
    with launch(Environment(env={"ACME": "1 2"})) as worker:
        env = psutil.Process(worker.pid).environ()
        assert env["ACME"] == "1 2"
        assert env["ORT_DISABLE_TELEMETRY"] == "1"
        assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"


def test_two_workers_live_side_by_side(mark):
    with opened("nothing") as one, opened("nothing") as two:
        assert one.pid != two.pid
        for worker in (one, two, one):
            assert worker.call("hello").fields["pid"] == worker.pid


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("/no/such/python", "No such file"),
        ("/bin/cat", "no Python answered"),
        ("/etc/passwd", "Permission denied"),
    ],
)
def test_what_is_no_interpreter_is_named(mark, python, says):
    with pytest.raises(WorkerError, match=says) as caught:
        launch(Environment("odd", python=python))
    assert caught.value.code == "IB-305"
    assert "odd" in caught.value.message


def test_an_interpreter_that_hangs_is_given_up(mark, tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_inferbench.worker.gateway._DIAGNOSIS_S", 0.5)
    python = tmp_path / "my python//hangs"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexec sleep 1000\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(WorkerError, match=r"did not answer within 0\.5 s") as caught:
        launch(Environment(python=str(python)), Limits(open_timeout_s=0.5))
    assert caught.value.code == "IB-305"


def test_an_interpreter_without_numpy_is_named(mark, tmp_path):
    venv.create(tmp_path / "a venv", symlinks=True, with_pip=False)
    with pytest.raises(WorkerError, match="has no numpy") as caught:
        launch(Environment(python=str(tmp_path / "a venv/bin/python")))
    assert caught.value.code == "IB-305"


def test_in_process_has_the_same_interface(monkeypatch):
    with InProcessWorker() as worker:
        with pytest.raises(WorkerError, match="no artifact is open"):
            worker.call("infer", {}, X)
        fields = {"backend_module": MODULES[0], "artifact": "", "options": {"deed": "nothing"}}
        worker.call("open", fields)
        np.testing.assert_array_equal(worker.call("infer", {}, X).arrays["y"], X["x"] + 1)
        assert worker.call("hello").fields["pid"] == os.getpid()
        worker.call("close")
        worker.call("open", {**fields, "options": {"deed": "raise_an_error"}})
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, X)
        assert isinstance(caught.value.__cause__, ValueError)  # the debugger sees the real frames


def test_the_controllers_imports_stay_light():
    program = (
        "import sys; from pytest_inferbench.worker import client; "
        "print([m for m in ('numpy', 'execnet', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_launching_is_not_slower_than_what_it_consists_of(mark):
    """Two interpreters and one import of numpy; anything much beyond is a mistake of ours."""

    def once(action):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    launch().close()  # first use imports execnet and numpy here
    plain_s = min(
        once(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True))
        for _ in range(3)
    )
    assert min(once(lambda: launch().close()) for _ in range(3)) < 6 * plain_s


def test_a_worker_keeps_small_files_until_it_is_told_to_remove_them(mark):
    with launch() as worker:
        data = {"data": np.frombuffer(b"a model", np.uint8)}
        paths = [
            Path(worker.call("scratch", {"name": name}, data).fields["path"])
            for name in ("one.onnx", "../two.onnx")
        ]
        assert [path.read_bytes() for path in paths] == [b"a model"] * 2
        assert paths[0].parent == paths[1].parent
        worker.call("scratch")
        assert not paths[0].parent.exists()
