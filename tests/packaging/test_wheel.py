"""The wheel, as a user has it: in a virtual environment inside the project, with `[cpu]` alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SETTINGS = """
[matrix]
backends = ["ort-cpu", "trt"]
precisions = ["fp32", "int8"]

[models.net]
path = "net.onnx"
task = "tensors"
samples = 4
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def project(built, tmp_path_factory):
    """A folder with settings, a model, a test of its own, and the wheel in `.venv`."""
    folder = tmp_path_factory.mktemp("project")
    venv.create(folder / ".venv", with_pip=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run(
        [folder / ".venv/bin/python", "-m", "pip", "install", "-q", f"{wheel}[cpu]"],
        check=True,
        capture_output=True,
    )
    shutil.copy(ROOT / "fixtures/detector/detector.onnx", folder / "net.onnx")
    (folder / "inferbench.toml").write_text(SETTINGS)
    (folder / "test_mine.py").write_text("def test_mine():\n    pass\n")
    return folder


@pytest.fixture
def empty(project, tmp_path):
    (tmp_path / "test_unrelated.py").write_text("def test_it():\n    pass\n")
    return tmp_path


@pytest.fixture
def command(project, tmp_path_factory, monkeypatch):
    """Run a program of that environment somewhere; return its status and output."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "wheel-cache"))

    def run(name, *arguments, cwd=project):
        line = [project / ".venv/bin" / name, *arguments]
        done = subprocess.run(line, check=False, cwd=cwd, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def collected(output):
    return {
        line.partition("[")[0].rpartition("/")[2] for line in output.splitlines() if "::" in line
    }


def test_what_the_wheel_holds(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("suites", "fixtures", "locustfiles"):
        for file in (path for path in (ROOT / folder).rglob("*") if path.is_file()):
            if "__pycache__" not in file.parts:
                assert f"pytest_inferbench/{file.relative_to(ROOT)}" in names
    for page in ("troubleshooting.md", "verdicts.md"):  # what `inferbench explain` reads
        assert f"pytest_inferbench/docs/{page}" in names
    assert not [name for name in names if "__pycache__" in name]
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pytest_inferbench"}


def test_what_the_sdist_holds(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = [name.partition("/")[2] for name in file.getnames()]
    left_out = ("__pycache__", ".venv", ".git/", ".tox", ".hypothesis", ".pytest_cache", "dist/")
    assert not [name for name in names if any(part in name for part in left_out)]
    assert {"LICENSE", "README.md", "tox.ini", "tests/oldest.txt"} <= set(names)


def test_the_wheel_needs_no_tool_of_ours(project):
    listed = subprocess.check_output([project / ".venv/bin/pip", "list"], text=True)
    installed = {line.split()[0].lower() for line in listed.splitlines()}
    assert "onnxruntime" in installed
    assert not installed & {"pytest-xdist", "ruff", "mypy", "build", "torch"}


def test_plain_pytest_collects_the_suites_and_the_project_s_own(command):
    status, output = command("pytest", "--collect-only", "-q", "--strict-markers")
    assert status == 0, output
    names = collected(output)
    assert {"test_mine.py::test_mine", "test_latency.py::test_latency"} <= names
    ours = {path.name for path in (ROOT / "suites").rglob("test_*.py")}
    assert {name.partition("::")[0] for name in names} <= {*ours, "test_mine.py"}, "others' tests"


def test_the_option_collects_the_suites_of_the_built_in_model(command, empty):
    status, output = command("pytest", "--inferbench-suites", "--collect-only", "-q", cwd=empty)
    assert status == 0, output
    assert {"test_unrelated.py::test_it", "test_detection.py::test_map_drop"} <= collected(output)


def test_a_gate_runs(command):
    status, output = command("pytest", "-q", "--strict-markers", "-m", "conformance and ort-cpu")
    assert status == 0, output
    assert "inferbench: 2 cells: 2 pass" in output


def test_what_cannot_run_here_does_not_pass(command):
    status, output = command("pytest", "-q", "-m", "trt and int8")
    assert status == 1, output
    assert "tensorrt is not installed" in output
    assert "nothing reached a verdict" in output


def test_the_built_in_model_and_its_data(command, empty):
    selected = ("-m", "accuracy and ort-cpu and fp32", "-k", "map_drop")
    status, output = command("pytest", "-q", "--inferbench-suites", *selected, cwd=empty)
    assert status == 0, output
    assert "1 passed" in output


@pytest.mark.parametrize("verb", ["doctor", "cache", "explain IB-603 702"])
def test_the_command(command, empty, verb):
    status, output = command("inferbench", *verb.split(), cwd=empty)
    assert status == 0, output
    assert "Traceback" not in output


def test_collection_imports_no_runtime(command, empty):
    program = (
        "import sys, pytest\n"
        "pytest.main(['--inferbench-suites', '--collect-only', '-q'])\n"
        "print('HEAVY', {'onnxruntime', 'onnx', 'PIL', 'pycocotools', 'torch'} & {*sys.modules})\n"
    )
    _, output = command("python", "-c", program, cwd=empty)
    assert "HEAVY set()" in output, output
