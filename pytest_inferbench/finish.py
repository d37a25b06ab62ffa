"""The end of a session: workers closed, requirements met or not, baselines and results written.

Takes the gate and pytest's session; settles the exit status. Only the process that saw every
report (the only one, or xdist's controller) concludes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.requirements import unmet

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate


def finish(gate: Gate, session: pytest.Session) -> None:
    """Conclude the session."""
    gate.close()
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    if session.config.getoption("numprocesses", None):
        _report_requirements(gate, session)
    interrupted = session.exitstatus in (
        pytest.ExitCode.INTERRUPTED,
        pytest.ExitCode.INTERNAL_ERROR,
        pytest.ExitCode.USAGE_ERROR,
    )
    problems = [] if interrupted else _record(gate)
    if gate.options.update and interrupted:
        gate.notices.append("interrupted: no baseline was written")
    if gate.options.json_path is not None:
        problems += _write_json(gate)
    if gate.ledger.is_all_silent():
        problems.append("nothing reached a verdict: what did not run did not pass")
    gate.notices += problems
    if problems and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _report_requirements(gate: Gate, session: pytest.Session) -> None:
    """Under xdist no process runs last, so the controller reports the requirements itself."""
    for text in gate.options.require:
        reason = unmet(text, gate.cells, gate.ledger)
        report = pytest.TestReport(
            nodeid=f"require::{text}",
            location=("require", None, f"require::{text}"),
            keywords={},
            outcome="failed" if reason else "passed",
            longrepr=f"--inferbench-require {text!r}: {reason}" if reason else None,
            when="call",
        )
        session.config.hook.pytest_runtest_logreport(report=report)
        if reason and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _record(gate: Gate) -> list[str]:
    """Write the sessions to record, once a file; return what could not be written."""
    if not gate.options.update:
        return []
    from pytest_inferbench.recording import record

    try:
        gate.notices += record(gate)
    except InferbenchError as error:
        return [f"no baseline was written: {error}"]
    return []


def _write_json(gate: Gate) -> list[str]:
    from pytest_inferbench.report.results import write_results

    try:
        write_results(gate)
    except OSError as error:
        return [f"[IB-704] {gate.options.json_path} could not be written: {error}"]
    return []
