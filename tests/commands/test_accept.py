"""`inferbench baselines accept`, as a user runs it."""

from __future__ import annotations

import json

import pytest

from pytest_inferbench.report.document import CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import JudgementResult, RunResult
from pytest_inferbench.report.reading import encode

STATISTICS = ("p5", "p50", "p90", "p99", "mean")


def a_cell(precision, *, verdict="regressed", right=True, ms=3.0):
    judgement = JudgementResult(metric="p5", verdict=verdict, code="IB-603", value=1.0)
    outcome = "failed" if verdict == "regressed" else "passed"
    timed = TestResult(
        test="t::timed", outcome=outcome, reason="", duration_s=1.0, kind="latency",
        judgements=(judgement,),
    )  # fmt: skip
    alike = TestResult(
        test="t::alike", outcome="passed" if right else "failed", reason="cosine", duration_s=1.0,
        kind="similarity", figures={"cosine": 1.0},
    )  # fmt: skip
    run = RunResult(
        latency_ms=dict.fromkeys(STATISTICS, ms),
        samples=9,
        probe_ms=0.5,
        cold_start_ms=9.0,
        peak_mib=70.0,
    )
    return CellResult(
        id=f"net-ort-cpu-{precision}-cpu-test-2c",
        model="net",
        backend="ort-cpu",
        precision=precision,
        hardware="cpu-test-2c",
        markers=("ort-cpu", precision),
        artifact="a" * 64,
        tests=(alike, timed),
        runs=(run,) * 3,
    )


@pytest.fixture
def gate_json(project):
    def write(*cells):
        session = SessionResult(id="s", recorded="2026-01-02T00:00:00Z")
        results = Results(
            inferbench="0", recorded=session.recorded, sessions=(session,), cells=cells
        )
        (project.path / "gate.json").write_bytes(encode(results))

    return write


def test_what_failed_is_recorded_with_its_reason_and_what_passed_is_not(project, gate_json):
    project.record({"ort-cpu int8": [project.session(ms=1.0)]})
    gate_json(a_cell("int8"), a_cell("fp32", verdict="pass"))
    done = project.run("accept", "--from", "gate.json", "--reason", "new driver")
    assert (done.returncode, done.stderr) == (0, "")
    recorded, accepted, wrote = done.stdout.splitlines()
    assert recorded.startswith("recorded net on ort-cpu at int8 (cpu-test-2c): p50 2 ms -> 3 ms")
    assert "accepted: p5 +200%" in accepted
    assert 'reason "new driver"' in accepted
    assert wrote.endswith("cpu-test-2c/net.json")
    file = project.store.read("cpu-test-2c", "net")
    assert set(file.cells) == {"ort-cpu int8"}
    assert [each.reason for each in file.sessions("ort-cpu int8")] == ["", "new driver"]
    again = project.run("accept", "--from", "gate.json", "--reason", "twice")
    assert again.returncode == 0
    assert "has this session already" in again.stdout
    assert len(project.store.read("cpu-test-2c", "net").sessions("ort-cpu int8")) == 2


def test_a_wrong_cell_is_refused_and_keeps_no_other_from_being_recorded(project, gate_json):
    gate_json(a_cell("int8", right=False), a_cell("fp32"))
    done = project.run("accept", "--from", "gate.json", "--reason", "x", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    plain = json.loads(done.stdout)
    assert [(each["cell"], each["code"]) for each in plain["refused"]] == [
        ("net-ort-cpu-int8-cpu-test-2c", "IB-929")
    ]
    assert "t::alike" in plain["refused"][0]["message"]
    assert set(project.store.read("cpu-test-2c", "net").cells) == {"ort-cpu fp32"}


def test_an_expression_chooses_and_replacing_drops_the_earlier_ones(project, gate_json):
    project.record({"ort-cpu int8": [project.session()], "ort-cpu fp32": [project.session()]})
    gate_json(a_cell("int8", verdict="pass"), a_cell("fp32", verdict="pass"))
    arguments = ["accept", "--from", "gate.json", "--reason", "x"]
    nothing = project.run(*arguments)
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("[IB-928]")
    before = project.tree()
    for wrong, code in (("nosuch", "IB-928"), ("and and", "IB-207")):
        done = project.run(*arguments, "-m", wrong)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"[{code}]")
    assert project.tree() == before
    done = project.run(*arguments, "-m", "int8", "--replace")
    assert done.returncode == 0, done.stderr
    file = project.store.read("cpu-test-2c", "net")
    assert len(file.sessions("ort-cpu int8")) == 1
    assert file.sessions("ort-cpu int8")[0].reason == "x"
    assert file.sessions("ort-cpu fp32")[0].reason == ""


def test_a_reason_and_results_are_needed(project, gate_json):
    gate_json(a_cell("int8"))
    for arguments in (["--from", "gate.json"], ["--from", "gate.json", "--reason", " "]):
        done = project.run("accept", *arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr
    (project.path / "gate.json").write_text("{}")
    done = project.run("accept", "--from", "gate.json", "--reason", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("[IB-90")
    assert not project.store.folder.exists()
