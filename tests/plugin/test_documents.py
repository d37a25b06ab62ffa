"""What a session leaves: its results whole, its summary once, its JUnit file with every figure."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_inferbench.baselines.schema import BaselineFile, CellSessions, Session
from pytest_inferbench.baselines.store import BaselineStore
from pytest_inferbench.hardware import detect
from pytest_inferbench.report.reading import encode, read_results

SCHEMA = Path(__file__).parents[2] / "docs/schema.json"


def record_fast_sessions(folder):
    """Record sessions that no machine can be as fast as, so that the cell regresses."""
    sessions = [
        Session(
            recorded=f"2026-01-0{day}T00:00:00Z",
            reason=f"day {day}",
            artifact="a" * 64,
            environment={"onnxruntime": "1.0", "option provider": "CPUExecutionProvider"},
            latency_ms=dict.fromkeys(("p5", "p50", "p90", "p99", "mean"), (1e-4,) * 3),
            samples=(100,) * 3,
            probe_ms=(0.5,) * 3,
            memory_mib={"peak": (1e4,) * 3},
        )
        for day in range(1, 7)
    ]
    cells = {"ort-cpu fp32": CellSessions(sessions=tuple(sessions))}
    hardware = detect().cpu
    BaselineStore(folder / "baselines").write(
        BaselineFile(hardware=hardware, model="net", cells=cells)
    )


@pytest.fixture
def session(project, gate, said, monkeypatch):
    """A session of two processes in which a cell regressed; return where its files are."""
    record_fast_sessions(project.path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    result = gate(
        *("-m", "latency or memory or (accuracy and ort-cpu)", "-n", "2"),
        *("--inferbench-json", "out.json", "--inferbench-markdown", "out.md"),
        *("--junitxml", "junit.xml", "--inferbench-require", "trt"),
    )
    assert "inferbench: 1 cell: 1 regressed" in said(result)
    assert result.ret == 1
    return project.path


@pytest.mark.slow
def test_a_session_leaves_everything_that_it_measured(session):
    read = read_results(session / "out.json")
    assert encode(read) == (session / "out.json").read_bytes(), "no key is lost on the way"
    (cell,) = read.cells
    assert cell.verdict == "regressed"
    assert len(cell.runs) >= 6, "those that confirmed it included"
    for run in cell.runs:
        assert {"p5", "p50", "p90", "p99"} <= set(run.latency_ms)
        assert run.probe_ms > 0
        assert run.steal_share is not None
    assert [each.reason for each in cell.recorded] == [f"day {day}" for day in range(1, 7)]
    assert cell.recorded[0].latency_ms["p50"] == (1e-4,) * 3
    assert cell.ran["onnxruntime"]
    assert len(cell.artifact) == 64
    failed = next(test for test in cell.tests if test.kind == "latency")
    assert failed.context["what to do"].startswith("find the cause")
    assert any("onnxruntime 1.0 ->" in line for line in failed.differs)
    (one,) = read.sessions
    assert "--inferbench-json" in one.command
    assert one.requirements[0].unmet
    assert "numpy" in one.environments["default"].distributions
    summary, markdown = (session / "summary.md").read_text(), (session / "out.md").read_text()
    assert summary == markdown + "\n", "once, by the process that saw every report"
    assert markdown.startswith("## Inference gate: regressed (1 cell: 1 regressed)")
    assert "| IB-603 |" in markdown
    schema_says(session / "out.json")
    junit_says(session / "junit.xml", cell)


def schema_says(path):
    try:
        import jsonschema
    except ImportError:
        return  # what the types say was checked above
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(
        json.loads(path.read_text())
    )


def junit_says(path, cell):
    """Every figure and every verdict is a property of its test; a failure is its paragraph."""
    cases = {
        each.get("name"): (
            {p.get("name"): p.get("value") for p in each.iter("property")},
            [(fault.get("message"), fault.text) for fault in each.iter("failure")],
        )
        for each in ElementTree.parse(path).iter("testcase")
    }
    for test in cell.tests:
        properties, failures = cases[test.test.rpartition("::")[2]]
        for name, value in test.figures.items():
            assert float(properties[f"inferbench.{name}"]) == pytest.approx(value)
        for judged in test.judgements:
            assert properties[f"inferbench.{judged.metric}.verdict"] == judged.verdict
        if test.outcome == "failed":
            ((message, text),) = failures
            assert test.reason in text
            assert "what to do" in text
            assert test.reason.splitlines()[0] in message, "newer pytests cut it there"


def test_a_session_that_was_interrupted_is_no_pass(project, gate):
    (project.path / "test_own.py").write_text(
        "def test_one(cell):\n    pass\n\n\ndef test_two(cell):\n    raise KeyboardInterrupt\n"
    )
    result = gate("test_own.py", "--inferbench-json=out.json", "--inferbench-markdown=out.md")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    read = read_results(project.path / "out.json")
    assert read.cells[0].verdict == "pass"
    assert read.failed
    assert (project.path / "out.md").read_text().startswith("## Inference gate: failed")


@pytest.mark.parametrize(
    ("end", "arguments", "says"),
    [
        ("assert 0", ("-x",), "pytest failed in what belongs to no cell: test_own.py::test_end"),
        ("pytest.exit('x', 7)", (), "interrupted"),
        ("pass", ("test_broken.py", "--continue-on-collection-errors"), "could not be collected"),
    ],
)
def test_what_keeps_cells_from_running_is_no_pass(project, gate, end, arguments, says):
    (project.path / "test_broken.py").write_text("1 / 0\n")
    (project.path / "test_own.py").write_text(
        f"import pytest\n\ndef test_one(cell):\n    pass\n\n\ndef test_end():\n    {end}\n"
    )
    result = gate("test_own.py", *arguments, "--inferbench-json=out.json")
    assert result.ret not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    read = read_results(project.path / "out.json")
    assert [cell.verdict for cell in read.cells] == ["pass"]
    assert read.failed
    assert says in read.sessions[0].problems[-1]
