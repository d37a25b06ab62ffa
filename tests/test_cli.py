"""The command `inferbench`, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_inferbench.artifacts.cache import ArtifactCache

SETTINGS = """
cache = "kept"
[models.net]
path = "net.onnx"
task = "tensors"
[matrix]
backends = ["ort-cpu", "trt"]
precisions = ["fp32"]
"""


@pytest.fixture
def inferbench(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"never opened")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)

    def run(*arguments):
        command = [sys.executable, "-m", "pytest_inferbench.cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_doctor_says_what_can_run_and_why_not(inferbench):
    done = inferbench("doctor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (can,) = (line for line in lines if line.startswith("  can run"))
    assert "net on ort-cpu at fp32" in can
    cannot = next(i for i, line in enumerate(lines) if line.startswith("  cannot run net on trt"))
    assert "NVIDIA GPU" in lines[cannot + 1] or "not installed" in lines[cannot + 1]
    assert any("onnxruntime" in line for line in lines)


def test_the_cache_is_listed_and_cleared(inferbench, tmp_path):
    def build(folder):
        (folder / "model.onnx").write_bytes(b"x" * 2**20)
        return {}

    ArtifactCache(tmp_path / "kept").get_or_build("ab" * 32, {"model": "net"}, build)
    listed = inferbench("cache")
    assert listed.returncode == 0, listed.stderr
    head, entry = listed.stdout.splitlines()
    assert "1 entry, 1.0 MiB" in head
    assert "abababababab" in entry
    assert "model net" in entry
    assert inferbench("cache", "--clear").returncode == 0
    assert "0 entries, 0.0 MiB" in inferbench("cache").stdout


def test_wrong_settings_are_status_1_on_stderr(inferbench, tmp_path):
    (tmp_path / "inferbench.toml").write_text("[modles.net]\n")
    for command in ("doctor", "cache"):
        done = inferbench(command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "IB-103" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["cache", "--nonsense"], ["baselines"]])
def test_bad_arguments_are_status_2(inferbench, arguments):
    done = inferbench(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: inferbench")


def test_a_reader_that_has_seen_enough_ends_no_command_with_a_traceback(inferbench, tmp_path):
    command = f"{sys.executable} -m pytest_inferbench.cli doctor | true"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


@pytest.mark.parametrize("verb", ["doctor", "cache"])
def test_what_is_listed_can_be_had_as_json(inferbench, verb):
    done = inferbench(verb, "--json")
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    if verb == "cache":
        assert plain["entries"] == []
    else:
        assert {cell["backend"] for cell in plain["cells"]} == {"ort-cpu", "trt"}
        assert all(cell["cannot_run"] for cell in plain["cells"] if cell["backend"] == "trt")
        assert "onnxruntime" in plain["environments"][0]["distributions"]
