"""pytest-rerunfailures: a rerun turns no regression green, and nothing green without saying so."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")

FLAKY = """
    import pathlib
    from pytest_inferbench.handles import Similarity
    from pytest_inferbench.judge.verdict import Judgement, Verdict

    def first_time(name):
        known = pathlib.Path(name).exists()
        pathlib.Path(name).touch()
        return not known

    def test_regressed(similarity, conclude, monkeypatch):
        if first_time("regressed"):
            regressed = Judgement("cosine", Verdict.REGRESSED, "IB-501", 0.5, "", "0.99")
            monkeypatch.setattr(Similarity, "judgements", lambda self: [regressed])
        conclude(similarity)

    def test_stumbled(similarity, conclude):
        assert not first_time("stumbled"), "the network was away"
        conclude(similarity)
"""

DYING = """
    import os

    def test_dies(cell):
        os._exit(3)

    def test_time(latency, conclude):
        conclude(latency)
"""


def test_a_regression_stays_one_and_the_rest_is_said(project, gate, said):
    project.makepyfile(test_own=FLAKY)
    wanted = ("--reruns", "2", "--inferbench-json", "out.json", "--junitxml", "junit.xml")
    result = gate("test_own.py", *wanted)
    text = said(result)
    assert result.ret == 1
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*[[]IB-501] cosine regressed: 0.5*", "*[[]IB-617] run again, and not measured again*"]
    )
    assert "test_stumbled[" in text
    assert "passed only when it was run again; before: AssertionError: the network was away" in text
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    outcomes = {each["test"].split("::")[1].split("[")[0]: each for each in cell["tests"]}
    assert {name: each["outcome"] for name, each in outcomes.items()} == {
        "test_regressed": "failed",
        "test_stumbled": "passed",
    }
    (judged,) = outcomes["test_regressed"]["judgements"]
    assert judged["verdict"] == "regressed"
    assert "net    ort-cpu  fp32" in text
    assert "1 cell: 1 regressed" in text
    (suite,) = ElementTree.parse(project.path / "junit.xml").getroot()
    assert suite.get("failures") == "1"
    last = suite.findall("testcase[failure]")[-1]
    assert [
        each.get("value")
        for each in last.iter("property")
        if each.get("name") == "inferbench.cosine.verdict"
    ] in ([], ["regressed"])


@pytest.mark.slow
def test_a_process_of_xdist_that_died_is_its_cells_failure(project, gate, said):
    pytest.importorskip("xdist")
    project.makepyfile(test_own=FLAKY, test_dying=DYING)
    result = gate(
        *("test_own.py", "test_dying.py", "-n", "2", "--reruns", "1", "--update-baselines"),
        *("--inferbench-json", "out.json"),
    )
    assert result.ret == 1
    assert "1 cell: 1 failed" in said(result)
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    died = [each for each in cell["tests"] if "test_dies" in each["test"]]
    assert [each["outcome"] for each in died] == ["failed"]
    assert not list(project.path.glob("baselines/*/*")), "a cell that crashed was recorded"
