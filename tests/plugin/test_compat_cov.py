"""Coverage tools: what they trace of ours is the pytest process, never a process that measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_inferbench.untraced import tracing
from pytest_inferbench.worker.client import Environment, launch

COVERED = """
    import os
    from pathlib import Path

    def test_own(backend_worker):
        assert "COVERAGE_PROCESS_CONFIG" in os.environ, "nothing would be traced anyway"
        backend_worker.outputs
        worker = backend_worker._worker
        for pid in (worker.pid, worker.supervisor_pid):
            there = Path(f"/proc/{pid}/environ").read_text()
            assert "COVERAGE_PROCESS" not in there
            assert "coverage" not in Path(f"/proc/{pid}/maps").read_text()
"""


def test_the_names_of_what_traces():
    assert tracing(["COV_CORE_SOURCE", "COVERAGE_PROCESS_START", "COVERAGE_FILE", "HOME"]) == [
        "COVERAGE_PROCESS_START",
        "COV_CORE_SOURCE",
    ]


def test_a_worker_is_told_nothing_of_a_tracer(monkeypatch, mark):
    monkeypatch.setenv("COV_CORE_SOURCE", "src")
    monkeypatch.setenv("COVERAGE_PROCESS_START", "/nowhere/.coveragerc")
    with launch(Environment(python=sys.executable)) as worker:
        for pid in (worker.pid, worker.supervisor_pid):
            assert "COV" not in Path(f"/proc/{pid}/environ").read_text()


@pytest.mark.slow
def test_with_subprocesses_measured_workers_are_not(project, gate, mark):
    pytest.importorskip("pytest_cov", reason="pytest-cov is not installed")
    project.makepyfile(test_own=COVERED)
    (project.path / ".coveragerc").write_text("[run]\npatch = subprocess\n")
    result = gate("test_own.py", "--cov=.", "--cov-config=.coveragerc", "--cov-report=term")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_own.py * 100%"])
