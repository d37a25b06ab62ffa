"""A project with recorded baselines in a real git repository, and the command run in it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_inferbench.baselines.schema import BaselineFile, CellSessions, Session
from pytest_inferbench.baselines.store import BaselineStore
from pytest_inferbench.onnx_cases import baseline as cases
from pytest_inferbench.onnx_cases.outcomes import Kind

SETTINGS = """
cache = "kept"
[models.net]
path = "net.onnx"
task = "tensors"
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "int8"]
"""


class Project:
    """A folder with settings and baselines."""

    hardware = "cpu-test-2c"

    def __init__(self, path):
        self.path = path
        self.store = BaselineStore(path / "baselines")

    def session(self, minute=0, ms=1.0, **fields):
        return Session(
            recorded=f"2026-01-01T00:{minute:02}:00Z",
            artifact="a" * 64,
            latency_ms={"p5": (ms,) * 3, "p50": (2 * ms,) * 3},
            probe_ms=(0.5,) * 3,
            memory_mib={"peak": (100.0,) * 3},
            **fields,
        )

    def record(self, cells, model="net", hardware=None, accepted=()):
        """Write a baseline file; return its path."""
        hardware = hardware or self.hardware
        held = {
            name: CellSessions(sessions=tuple(sessions), accepted=tuple(accepted))
            for name, sessions in cells.items()
        }
        return self.store.write(BaselineFile(hardware=hardware, model=model, cells=held))

    def record_cases(self, *, reason="", **outcomes):
        kinds = {name: Kind(outcome) for name, outcome in outcomes.items()}
        record = cases.record_of(kinds, onnx="1.23", recorded="2026-01-01T00:00:00Z", reason=reason)
        file = cases.CaseBaseline(
            hardware=self.hardware, cells={"ort-cpu fp32": {"onnxruntime 1.32.0": record}}
        )
        return cases.write(self.store.folder, file)

    def run(self, *arguments, folder=None, **environment):
        """Run `inferbench baselines ...` here, or in a folder below."""
        return subprocess.run(
            [sys.executable, "-m", "pytest_inferbench.cli", "baselines", *arguments],
            cwd=folder or self.path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def git(self, *arguments):
        quiet = ["-c", "user.name=Tester", "-c", "user.email=t@example.org"]
        command = ["git", *quiet, "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=self.path, check=True, capture_output=True)

    def commit(self):
        """Commit everything, in a repository that is made on first use."""
        if not (self.path / ".git").exists():
            self.git("init", "-q")
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    def tree(self):
        """Every file of the baselines with its contents."""
        folder = self.store.folder
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "project"
    path.mkdir()
    (path / "net.onnx").write_bytes(b"never opened")
    (path / "inferbench.toml").write_text(SETTINGS)
    return Project(path)
