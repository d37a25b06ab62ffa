"""From a regression that fails to one that is accepted: what is said, and what is kept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def fast_baseline(project, gate):
    """One real session, made a tenth as long as it was, on a machine that was set otherwise."""
    gate("-m", "latency", "--update-baselines", "--inferbench-reason", "first")
    (path,) = project.path.glob("baselines/*/net.json")
    plain = json.loads(path.read_text())
    (session,) = plain["cells"]["ort-cpu fp32"]["sessions"]
    for name, runs in session["latency_ms"].items():
        session["latency_ms"][name] = [run / 10 for run in runs]
    session["environment"] |= {"cpu_governor": "performance-of-old", "onnxruntime": "1.0.0"}
    path.write_text(json.dumps(plain))
    return path


def inferbench(project, *arguments):
    command = [sys.executable, "-m", "pytest_inferbench.cli", "baselines", *arguments]
    done = subprocess.run(
        command, cwd=project.path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_differs_is_said_first(fast_baseline, gate, said):
    result = gate("-m", "latency")
    result.assert_outcomes(failed=1)
    lines = said(result).splitlines()
    head = next(i for i, line in enumerate(lines) if "the machine and packages differ; p5" in line)
    assert lines[head].endswith("regressed")
    assert lines[head + 1].startswith("  machine differs: cpu_governor performance-of-old -> ")
    assert lines[head + 2].startswith("  packages differ: onnxruntime 1.0.0 -> ")
    assert lines[head + 3].startswith("  [IB-603] p5 regressed: ")


@pytest.mark.slow
def test_an_accepted_regression_keeps_its_reason(project, fast_baseline, gate, said):
    accept = ("--update-baselines", "--inferbench-reason", "one thread")
    result = gate("-m", "latency", *accept)
    assert result.ret == 0
    text = said(result)
    (line,) = (line for line in text.splitlines() if line.startswith("  accepted: "))
    assert "p5 +" in line
    assert "(budget +10%)" in line
    assert line.endswith(', reason "one thread"')

    def kept():
        cell = json.loads(fast_baseline.read_text())["cells"]["ort-cpu fp32"]
        (accepted,) = cell["accepted"]
        assert accepted["worse"]["p5"] > 1
        return accepted["reason"], [each["reason"] for each in cell["sessions"]]

    assert kept() == ("one thread", ["first", "one thread"])
    inferbench(project, "prune", "--keep", "1", "--yes")
    assert kept() == ("one thread", ["one thread"])
    assert 'reason "one thread"' in inferbench(project, "list")


@pytest.mark.slow
def test_a_regression_that_is_accepted_without_a_reason_is_said_to_have_none(
    project, fast_baseline, gate, said
):
    result = gate("-m", "latency", "--update-baselines=replace")
    assert result.ret == 0
    (line,) = (line for line in said(result).splitlines() if line.startswith("  accepted: "))
    assert "no reason given" in line
    shown = inferbench(project, "list")
    assert "1 session" in shown
    assert "no reason given" in shown
