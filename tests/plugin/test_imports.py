"""Nothing to pay when unused."""

from __future__ import annotations

import subprocess
import sys

import pytest

# execnet is not among them: xdist imports it, in use or not.
HEAVY = {"onnx", "onnxruntime", "numpy", "rich", "msgspec", "pynvml"}

PROGRAM = """
import sys, pytest
pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *sys.argv[1:]])
print("IMPORTED", *sorted({name.partition(".")[0] for name in sys.modules}))
print("OURS", *sorted(name for name in sys.modules if name.startswith("pytest_inferbench")))
"""


def modules(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    return set(lines["IMPORTED"].split()), set(lines["OURS"].split())


def heavy(folder):
    """What is heavy and would not be there without us: other plugins may import some of it."""
    imported, ours = modules(folder)
    assert "pytest_inferbench.plugin" in ours, "the plugin was not installed: nothing was tested"
    return (imported & HEAVY) - modules(folder, "-p", "no:inferbench")[0]


@pytest.fixture
def unrelated(tmp_path):
    (tmp_path / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    return tmp_path


def test_an_unrelated_project_imports_nothing_heavy(unrelated):
    assert not heavy(unrelated)


def test_an_unrelated_pyproject_changes_nothing(unrelated):
    (unrelated / "pyproject.toml").write_text('[project]\ndependencies = ["pytest-inferbench"]\n')
    assert not heavy(unrelated)
