"""The end of a session: workers closed, requirements met or not, baselines and results written.

Takes the gate and pytest's session; settles the exit status. Only the process that saw every
report (the only one, or xdist's controller) concludes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.ledger import has_regressed
from pytest_inferbench.report.messages import counted, first_of
from pytest_inferbench.requirements import unmet

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate


_ENDS_WELL = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
_NAMED = 5
_NO_TEST = "a file that could not be collected, or an end before its time"


def finish(gate: Gate, session: pytest.Session) -> None:
    """Conclude the session."""
    gate.close()
    gate.hush()
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    if session.config.pluginmanager.hasplugin("dsession"):
        _report_requirements(gate, session)
    # also by `pytest.exit` with a status of its own
    interrupted = session.exitstatus not in (*_ENDS_WELL, pytest.ExitCode.TESTS_FAILED)
    try:
        problems = [] if interrupted else _record(gate)
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        problems = ["interrupted while baselines were written: each file is the old one or the new"]
    if gate.options.update and interrupted:
        gate.notices.append("interrupted: no baseline was written")
    if gate.ledger.is_all_silent():
        problems.append("nothing reached a verdict: what did not run did not pass")
    problems += _run_again(gate)
    gate.notices += problems
    if gate.options.raw_folder is not None:
        gate.notices.append(_raw(gate))
    beyond = ["interrupted: not every selected test ran"] if interrupted else _others(gate, session)
    for write in (_write_coverage, _write_documents):
        unwritten = write(gate, [*problems, *beyond])
        gate.notices += unwritten
        problems += unwritten
    if problems:
        _fail(session)


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
        if reason:
            _fail(session)


def _fail(session: pytest.Session) -> None:
    """Let a session that was to end well, or empty, end as failed."""
    if session.exitstatus in _ENDS_WELL:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _others(gate: Gate, session: pytest.Session) -> list[str]:
    """Return what failed the session and is in no cell: results without it would look like a pass.

    With `-x` it may have kept the cells' tests from running at all.
    """
    if session.exitstatus != pytest.ExitCode.TESTS_FAILED:
        return []
    failed = [entry for entry in gate.ledger if entry.outcome == "failed"]
    if any(entry.cell or entry.nodeid.startswith("require::") for entry in failed):
        return []
    names = [entry.nodeid for entry in failed] or [_NO_TEST]
    return [f"pytest failed in what belongs to no cell: {first_of(names, _NAMED)}"]


def _run_again(gate: Gate) -> list[str]:
    """Tell what passed only when run again; return what had regressed: that is a verdict."""
    problems = []
    for attempt in gate.ledger.turned_green():
        line = f"{attempt.nodeid} passed only when it was run again; before: {attempt.reason}"
        if has_regressed(attempt.payload):
            problems.append(f"[IB-617] a regression stays one: {line}")
        else:
            gate.notices.append(line)
    return problems


def _record(gate: Gate) -> list[str]:
    """Write the sessions to record, once a file; return what could not be written."""
    if not gate.options.update:
        return []
    from pytest_inferbench.onnx_cases.recording import record as record_cases
    from pytest_inferbench.recording import record

    problems: list[str] = []
    lines: list[str] = []
    for each in (record, record_cases):
        try:
            lines += each(gate)
        except InferbenchError as error:
            problems.append(f"not every baseline was written: {error}")
    gate.notices += lines
    return problems if lines or problems else [_none_recorded(gate)]


def _none_recorded(gate: Gate) -> str:
    """Say that no cell was recorded, and why the first was not: skips are not shown without -rs."""
    whys = (entry.reason.partition("\n")[0] for entry in gate.ledger.ours if entry.reason)
    why = next(whys, "")
    return "[IB-703] --update-baselines, and no cell was recorded" + (f": {why}" if why else "")


def _raw(gate: Gate) -> str:
    """Say where the raw samples are; each test of a cell names the files of the same launches."""
    files = {name for entry in gate.ledger.ours for name in entry.payload.get("raw", ())}
    return f"raw samples: {counted(len(files), 'file')} in {gate.options.raw_folder}"


def _write_documents(gate: Gate, problems: list[str]) -> list[str]:
    from pytest_inferbench.report.outputs import are_wanted, write_outputs

    return write_outputs(gate, problems) if are_wanted(gate) else []


def _write_coverage(gate: Gate, _problems: list[str]) -> list[str]:
    from pytest_inferbench.report.coverage import write_coverage

    path = gate.options.coverage_path
    if path is None:
        return []
    if not (covered := gate.coverage()):
        return [f"[IB-638] {path} was not written: none of ONNX's cases ran"]
    try:
        write_coverage(path, covered)
    except OSError as error:
        return [f"[IB-637] {path} could not be written: {error}"]
    return []
