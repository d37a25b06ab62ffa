"""Workers on another host, over a real sshd: whatever ends first, nothing is left over there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pytest_inferbench.worker.client import Environment, Limits, WorkerError, launch
from pytest_inferbench.worker.survey import NoAnswerError, survey

MODULE = "adversaries:Adversary"
X = {"x": np.ones((1, 4), np.float32)}


def opened(environment, deed="nothing"):
    worker = launch(environment, Limits(open_timeout_s=60), modules=[MODULE])
    fields = {"backend_module": MODULE, "artifact": "", "options": {"deed": deed}}
    worker.call("open", fields)
    return worker


def in_a_moment(do):
    timer = threading.Timer(1.0, do)
    timer.start()
    return timer


def test_it_answers_with_the_host_s_own_variables(mark, host):
    with opened(host.environment(INFERBENCH_TEST_VALUE="a 'b' $c")) as worker:
        np.testing.assert_array_equal(worker.call("infer", {}, X).arrays["y"], X["x"] + 1)
        environ = psutil.Process(worker.pid).environ()
        assert environ["INFERBENCH_TEST_VALUE"] == "a 'b' $c"
        assert "SSH_CONNECTION" in environ


def test_megabytes_go_there_and_back(mark, host):
    x = np.random.default_rng(0).normal(size=(1, 3_000_000)).astype(np.float32)
    with opened(host.environment()) as worker:
        np.testing.assert_array_equal(worker.call("infer", {}, {"x": x}).arrays["y"], x + 1)


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("grandchildren_then_hang", "IB-302"),
        ("grandchildren_then_crash", "IB-301"),
        ("ignore_sigterm", "IB-302"),
    ],
)
def test_a_hang_is_ended_and_a_crash_is_told(mark, host, deed, code):
    with opened(host.environment(), deed) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, X, timeout_s=2.0)
        assert caught.value.code == code
        assert "environment orin" in caught.value.message
        assert not psutil.pid_exists(worker.pid)


def test_a_worker_that_is_killed_there_is_told(mark, host):
    with opened(host.environment(), "grandchildren_then_hang") as worker:
        killer = in_a_moment(lambda: os.kill(worker.pid, signal.SIGKILL))
        with pytest.raises(WorkerError, match="SIGKILL") as caught:
            worker.call("infer", {}, X, timeout_s=30.0)
        killer.join()
    assert caught.value.code == "IB-301"


def test_a_connection_that_drops_takes_everything_there_along(mark, host):
    before = {process.pid for process in host.connections()}
    with opened(host.environment(), "grandchildren_then_hang") as worker:

        def drop():
            for process in host.connections():
                if process.pid not in before:
                    process.kill()

        killer = in_a_moment(drop)
        with pytest.raises(WorkerError, match="connection") as caught:
            worker.call("infer", {}, X, timeout_s=30.0)
        killer.join()
        assert caught.value.code == "IB-301"
        deadline = time.monotonic() + 10
        while psutil.pid_exists(worker.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not psutil.pid_exists(worker.pid)


def test_a_supervisor_that_is_killed_there_takes_all_along(mark, left_of, host):
    with opened(host.environment(), "grandchildren_then_hang") as worker:
        supervisor = psutil.Process(worker.pid).parent()
        killer = in_a_moment(supervisor.kill)
        with pytest.raises(WorkerError, match="supervisor is gone") as caught:
            worker.call("infer", {}, X, timeout_s=30.0)
        killer.join()
        assert caught.value.code == "IB-301"
    assert not left_of(mark, 0.0)


CONTROLLER = """
import sys
sys.path[:0] = [{here!r}]
import numpy as np
from pytest_inferbench.worker.client import Environment, launch
worker = launch(Environment("orin", {python!r}, {ssh!r}), modules=["adversaries:Adversary"])
worker.call("open", {{
    "backend_module": "adversaries:Adversary",
    "artifact": "",
    "options": {{"deed": "grandchildren_then_hang"}},
}})
print(worker.pid, flush=True)
worker.call("infer", {{}}, {{"x": np.ones((1, 4), np.float32)}})
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_controller_that_ends_leaves_nothing_there(mark, host, how):
    here = str(Path(__file__).parents[1] / "worker")
    text = CONTROLLER.format(here=here, python=sys.executable, ssh=host.ssh())
    process = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    deadline = time.monotonic() + 15
    while len(psutil.Process(pid).children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_a_login_banner_is_named(mark, host):
    with pytest.raises(WorkerError, match="beginning 'Welcome to Ubuntu'") as caught:
        launch(host.environment("banner"), Limits(open_timeout_s=20))
    assert caught.value.code == "IB-305"
    assert "orin" in caught.value.message
    assert "banner" in caught.value.message


def test_a_python_that_is_not_there_is_named(mark, host):
    with pytest.raises(WorkerError, match="exit code 127") as caught:
        launch(host.environment(python="~/no such/python3"), Limits(open_timeout_s=20))
    assert caught.value.code == "IB-305"
    assert "Give the path of a Python" in caught.value.hint


def test_a_host_that_refuses_is_named(mark, host):
    environment = Environment("orin", "python3", f"-F {host.folder}/client -p 1 there")
    with pytest.raises(WorkerError, match="Connection refused") as caught:
        launch(environment, Limits(open_timeout_s=20))
    assert caught.value.code == "IB-305"
    assert "by hand" in caught.value.hint


def test_a_survey_tells_what_is_there_whatever_is_printed_before(mark, host):
    for name in ("there", "banner"):
        found = survey(host.environment(name), ["numpy", "no-such-package"], 60.0)
        assert found["distributions"] == {"numpy": np.__version__}
        assert found["python"] == ".".join(map(str, sys.version_info[:3]))
        assert re.fullmatch(r"cpu-[a-z0-9-]+c", found["cpu"])
        assert found["facts"]["kernel"] == os.uname().release


def test_a_survey_sees_the_environment_s_variables(mark, host):
    environment = host.environment(PYTHONNOUSERSITE="1", PYTHONPATH="/nowhere")
    assert survey(environment, [], 60.0)["distributions"] == {}


@pytest.mark.parametrize("version", ["2.7", "3.8"])
def test_a_survey_names_an_old_python(mark, host, version):
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(pyenv.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    with pytest.raises(NoAnswerError, match=rf"it is Python {version}\.\d+, and 3.10"):
        survey(host.environment(python=str(found[0])), ["numpy"], 60.0)


def test_a_survey_of_a_host_that_is_silent_ends(mark, host):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        environment = Environment("orin", None, f"-F {host.folder}/client -p {port} there")
        started = time.monotonic()
        with pytest.raises(NoAnswerError, match="within 2 s"):
            survey(environment, ["numpy"], 2.0)
        assert time.monotonic() - started < 30.0  # it would never answer
