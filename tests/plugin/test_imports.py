"""Nothing to pay when unused."""

from __future__ import annotations

import subprocess
import sys

import pytest

# execnet is not among them: xdist imports it, in use or not.
HEAVY = {"onnx", "onnxruntime", "numpy", "rich", "msgspec", "pynvml"}

PROGRAM = """
import sys, pytest
pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"])
print("IMPORTED", *sorted({name.partition(".")[0] for name in sys.modules}))
print("OURS", *sorted(name for name in sys.modules if name.startswith("pytest_inferbench")))
"""


def modules(folder):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return set(lines["IMPORTED"].split()), set(lines["OURS"].split())


@pytest.fixture
def unrelated(tmp_path):
    (tmp_path / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    return tmp_path


def test_an_unrelated_project_imports_nothing_heavy(unrelated):
    imported, ours = modules(unrelated)
    assert "pytest_inferbench.plugin" in ours, "the plugin was not installed: nothing was tested"
    assert not imported & HEAVY


def test_an_unrelated_pyproject_changes_nothing(unrelated):
    (unrelated / "pyproject.toml").write_text('[project]\ndependencies = ["pytest-inferbench"]\n')
    imported, _ = modules(unrelated)
    assert not imported & HEAVY
