"""Bad input: each a clear error, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

MARK = "INFERBENCH_TEST_PROJECT"


def failed_with(result, code, *parts):
    shown = result.stdout.str()
    assert result.ret == 1, shown
    assert code in shown
    for part in parts:
        assert part in shown
    assert "Traceback (most recent call last)" not in shown


def test_a_truncated_model(project, gate):
    model = project.path / "net.onnx"
    model.write_bytes(model.read_bytes()[:200])
    failed_with(gate("-m", "accuracy"), "IB-4", "net.onnx")


def test_an_unknown_op(project, gate):
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="nobody.knows")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody.knows", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
    onnx.save(model, project.path / "net.onnx")
    failed_with(gate("-m", "accuracy"), "IB-326", "Frobnicate")


def test_a_damaged_baseline_is_an_error_and_stays_as_it_is(project, gate):
    gate("-m", "latency", "--update-baselines")
    (file,) = project.path.glob("baselines/*/*.json")
    sound = file.read_text()
    for damaged, part in (
        ("not json", "trusted"),
        (sound.replace('"schema": 1', '"schema": 99'), "schema"),
        (sound.replace('"hardware": "', '"hardware": "other-'), "other-"),
    ):
        file.write_text(damaged)
        failed_with(gate("-m", "latency"), "IB-71", file.name, part)
        assert gate("-m", "latency", "--update-baselines").ret == 1
        assert file.read_text() == damaged


def test_a_baselines_folder_that_cannot_be_written(project, gate):
    (project.path / "baselines").write_text("a file, not a folder")
    result = gate("-m", "latency", "--update-baselines")
    failed_with(result, "IB-71", "baselines")


@pytest.mark.slow
def test_no_room_for_the_baseline(project, gate):
    """A limit on file size is what a full disk looks like to a write."""
    # long enough that the limit below leaves room for what pytest itself prints
    gate("-m", "latency", "--update-baselines", "--inferbench-reason", "x" * 50_000)
    (file,) = project.path.glob("baselines/*/*.json")
    before = file.read_bytes()
    project.makeconftest(
        f"""
        import pytest, resource, signal

        @pytest.hookimpl(wrapper=True)
        def pytest_sessionfinish():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)} // 2, resource.RLIM_INFINITY))
            return (yield)
        """
    )
    result = gate("-m", "latency", "--update-baselines", "-p", "no:cacheprovider")
    failed_with(result, "IB-713", file.name)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file], "a temporary file was left"


def test_an_input_that_does_not_fit(project, gate):
    import numpy as np

    (project.path / "data").mkdir()
    np.savez(project.path / "data" / "one.npz", x=np.zeros((1, 4, 32, 32), np.float32))
    with (project.path / "inferbench.toml").open("a") as file:
        file.write('data = "data"\n')
    failed_with(gate("-m", "accuracy"), "IB-", "'x'")


def test_an_empty_calibration_folder(project, gate):
    (project.path / "calibration").mkdir()
    with (project.path / "inferbench.toml").open("a") as file:
        file.write('calibration = "calibration"\n')
    result = gate()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*models.net.calibration*"])


def ours(project):
    """Every process whose environment carries this test's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(project.path):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def measuring(project):
    """A pytest in the middle of a long measurement."""
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('"150 ms"', '"30 s"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-m", "latency", "--update-baselines"],
        cwd=project.path,
        env={**os.environ, MARK: str(project.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(ours(project)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)
    assert len(ours(project)) >= 3, "pytest, its supervisor and its worker"
    yield process
    for left in ours(project):
        left.kill()
    process.wait(10)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_measuring_nothing_is_left(project, measuring, sent):
    measuring.send_signal(sent)
    measuring.wait(30)
    deadline = time.monotonic() + 10
    while ours(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ours(project)
    assert not list(project.path.glob("baselines/**/*")), "no baseline was touched"
    if sent is signal.SIGINT:
        assert measuring.returncode == 2
        assert "no baseline was written" in measuring.stdout.read()


def test_results_that_cannot_be_written_fail_the_run(project, gate):
    (project.path / "folder").mkdir()
    result = gate("-m", "accuracy", "--inferbench-json", "folder")
    failed_with(result, "IB-704")
