"""The end of a run: what is no pass, and what is said of it."""

from __future__ import annotations

import argparse

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.histogram import of_latencies
from pytest_inferbench.load.options import add_options
from pytest_inferbench.load.result import LoadResult, from_text
from pytest_inferbench.load.verdict import Judge

GOOD = LoadResult("grpc", 2, 1.0, 3, histogram=of_latencies([10**6] * 3))
NOTHING = LoadResult("grpc", 2, 1.0, 0)


@pytest.fixture
def conclude(tmp_path, capsys):
    """Return how to conclude a run with options: its status, and what was said."""

    def concluded(results, faults=(), arguments=()):
        parser = argparse.ArgumentParser()
        add_options(parser, "triton")
        judge = Judge(parser.parse_args(list(arguments)), tmp_path)
        capsys.readouterr()
        status = judge.conclude(results, faults)
        return status, capsys.readouterr().out

    return concluded


def test_answers_without_faults_pass(conclude):
    status, said = conclude([GOOD])
    assert status == 0
    assert said.endswith("PASSED\n")


@pytest.mark.parametrize("results", [[], [NOTHING], [GOOD, NOTHING]])
def test_nothing_measured_is_no_pass(conclude, results):
    status, said = conclude(results)
    assert status == 1
    assert "IB-837" in said
    assert "PASSED" not in said


def test_what_is_written_tells_a_part_of_the_load_from_failed_requests(conclude, tmp_path):
    file = tmp_path / "results.json"
    failed = LoadResult("grpc", 2, 1.0, 3, {"timeout": 1}, GOOD.histogram)
    assert conclude([failed], arguments=("--load-json", str(file)))[0] == 1
    assert from_text(file.read_text(), "it") == ([failed], [])
    assert conclude([failed], ["1 of 2 did not tell"], ("--load-json", str(file)))[0] == 1
    assert from_text(file.read_text(), "it") == ([failed], ["1 of 2 did not tell"])


def test_objectives_that_only_the_server_could_tell_are_said(conclude, tmp_path):
    settings = '[serving.objectives]\np95 = "1 s"\nqueue_p95 = "5 ms"\n'
    (tmp_path / "inferbench.toml").write_text(settings)
    status, said = conclude([GOOD])
    assert status == 0
    assert "not judged here: queue_p95" in said
    assert "PASSED: p95 within" in said


def test_a_pass_says_what_it_could_not_decide(conclude, tmp_path):
    file = str(tmp_path / "load.json")
    with pytest.raises(InferbenchError) as raised:
        conclude([GOOD], arguments=("--baseline", file))
    assert raised.value.code == "IB-842"
    status, said = conclude([GOOD], arguments=("--baseline", file, "--record"))
    assert status == 0
    assert said.endswith("PASSED\n")
    status, said = conclude([GOOD], arguments=("--baseline", file))
    assert status == 0
    assert said.endswith("PASSED, 2 undecided\n")
