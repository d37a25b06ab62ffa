"""A backend of somebody else's: installed as a package of its own, or given by a conftest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "third_party"
MATRIX = 'backends = ["ort-cpu"]'
OURS = 'backends = ["onnx-reference"]'


@pytest.fixture
def with_its_backend(project):
    settings = project.path / "inferbench.toml"
    settings.write_text(settings.read_text().replace(MATRIX, OURS))
    return project


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the example beside everything else, for the processes of this test."""
    source = shutil.copytree(PACKAGE, tmp_path / "source")
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", target, source], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("PYTHONPATH", str(target))


@pytest.mark.slow
def test_an_installed_package_passes_the_conformance_suite(installed, with_its_backend, gate):
    result = gate("--inferbench-suites", "-m", "conformance", "-rs", timeout=300)
    outcomes = result.parseoutcomes()
    assert result.ret == 0, result.stdout.str()
    assert outcomes["passed"] > 15
    result.stdout.no_fnmatch_line("*not asked: it cannot open*")


def test_it_runs_at_every_precision_it_claims(installed, with_its_backend, gate):
    settings = with_its_backend.path / "inferbench.toml"
    text = settings.read_text().replace('["fp32"]', '["fp32", "fp16", "int8"]')
    settings.write_text(text)
    result = gate("--inferbench-suites", "-m", "accuracy", "-rs")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["skipped"], outcomes.get("failed")) == (2, 1, None)
    result.stdout.fnmatch_lines(["*no int8 for onnx-reference*"])


def test_an_uninstalled_one_is_unknown(with_its_backend, gate):
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*unknown backend "onnx-reference"*'])


def test_a_conftest_gives_one_by_the_hook(with_its_backend, gate):
    shutil.copytree(PACKAGE / "inferbench_reference", with_its_backend.path / "mine")
    for file in (with_its_backend.path / "mine").glob("*.py"):
        file.write_text(file.read_text().replace("inferbench_reference", "mine"))
    with_its_backend.makeconftest(
        """
        import os, sys
        sys.path.insert(0, os.path.dirname(__file__))
        from mine import INFO

        def pytest_inferbench_backends():
            return [INFO]
        """
    )
    result = gate("--inferbench-suites", "-m", "accuracy")
    assert result.parseoutcomes()["passed"] == 1


def test_a_hook_that_gives_something_else_is_told_so(project, gate):
    project.makeconftest("def pytest_inferbench_backends(): return ['mine']")
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*IB-211*is str, not a BackendInfo*"])
