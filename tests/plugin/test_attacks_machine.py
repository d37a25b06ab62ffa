"""What machines do: no lock, no cache, killed processes, signals at the worst moment."""

from __future__ import annotations

import signal

import numpy as np
import pytest


def settle(project, old, new):
    file = project.path / "inferbench.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('lock = ".lock"', 'lock = "/proc/nothing/lock"', "IB-690"),
        ('cache = ".cache"', 'cache = "/proc/nothing/cache"', "IB-421"),
        ('cache = ".cache"', 'cache = "net.onnx"', "IB-421"),
        ("[latency]", '[worker]\nopen_timeout = "1 ms"\n[latency]', "worker.open_timeout"),
        ("[latency]", '[worker]\nmemory_limit = "5 MiB"\n[latency]', "IB-303"),
    ],
)
def test_a_machine_that_gives_nothing_is_one_named_failure(project, gate, said, old, new, code):
    settle(project, old, new)
    result = gate("-m", "accuracy")
    assert result.ret == 1
    assert code in said(result)


def test_calibration_samples_that_differ(project, gate, said):
    settle(project, '["fp32"]', '["int8"]')
    (project.path / "calibration").mkdir()
    for n in (1, 2):
        np.savez(project.path / f"calibration/{n}.npz", x=np.ones((n, 3, 32, 32), np.float32))
    with (project.path / "inferbench.toml").open("a") as file:
        file.write('calibration = "calibration"\n')
    result = gate("-m", "accuracy")
    assert result.ret == 1
    text = said(result)
    assert "IB-546" in text
    assert "[2, 3, 32, 32]" in text


@pytest.mark.slow
def test_interrupted_while_baselines_are_written(project, gate, said):
    gate("-m", "latency", "--update-baselines")
    (file,) = project.path.glob("baselines/*/*.json")
    before = file.read_bytes()
    project.makeconftest(
        """
        import os, pathlib, signal
        replace = pathlib.Path.replace

        def interrupted(self, target):
            if "baselines" in str(target):
                os.kill(os.getpid(), signal.SIGINT)
            return replace(self, target)

        pathlib.Path.replace = interrupted
        """
    )
    result = gate("-m", "latency", "--update-baselines")
    assert result.ret == 2
    assert "interrupted while baselines were written" in said(result)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file], "a temporary file was left"


def test_a_crash_of_an_xdist_process_is_one_failure_and_what_follows_runs(project, gate):
    pytest.importorskip("xdist")
    settle(project, '["fp32"]', '["fp32", "fp16"]')
    project.makepyfile(
        test_own=f"""
        import os

        def test_a(cell):
            pass

        def test_b(cell):
            if cell.precision == "fp16":
                os.kill(os.getpid(), {int(signal.SIGKILL)})

        def test_c(cell):
            pass
        """
    )
    result = gate("test_own.py", "-n", "1", timeout=60)
    assert result.ret == 1
    result.assert_outcomes(passed=5, failed=1)


def test_a_requirement_fails_a_run_without_tests_under_xdist(project, gate):
    pytest.importorskip("xdist")
    result = gate("-n", "1", "-m", "trt", "--inferbench-require", "trt")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED require::trt*"])
