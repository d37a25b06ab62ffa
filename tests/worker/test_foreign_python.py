"""Other interpreters: nothing of ours is installed there, and the worker runs all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pytest_inferbench.worker.client import Environment, WorkerError, launch

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")


def interpreter(version: str) -> str:
    found = [str(path) for path in sorted(PYENV.glob(f"{version}.*/bin/python"))]
    found += filter(None, [shutil.which(f"python{version}")])
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    return found[0]


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9"])
def test_an_old_python_is_named(mark, version):
    with pytest.raises(WorkerError, match=rf"it is Python {version}\.\d+") as caught:
        launch(Environment("old", python=interpreter(version)))
    assert caught.value.code == "IB-305"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_a_bare_python_with_only_numpy_runs_the_worker(mark, tmp_path, version):
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([interpreter(version), "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy"], check=True)
    listing = [path.name for path in sorted(tmp_path.rglob("*.py*"))]
    modules = ["adversaries:Adversary"]
    with launch(Environment("bare", python=python), modules=modules) as worker:
        hello = worker.call("hello", {"distributions": ["pytest", "numpy"]}).fields
        assert hello["python"].startswith(version)
        assert set(hello["distributions"]) == {"numpy"}
        fields = {"backend_module": modules[0], "artifact": "", "options": {}}
        worker.call("open", fields)
        x = np.arange(4, dtype=np.float32)[None]
        np.testing.assert_array_equal(worker.call("infer", {}, {"x": x}).arrays["y"], x + 1)
        sampled = worker.call("sample", {"duration_s": 0.05}, {"x": x})
        assert sampled.arrays["ns"].size > 0
        worker.call("close")
        worker.call("open", {**fields, "options": {"deed": "raise_an_error"}})
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, {"x": x})
        assert 'raise ValueError("the value is of no use")' in caught.value.remote_traceback
    assert [path.name for path in sorted(tmp_path.rglob("*.py*"))] == listing
