"""`inferbench report`, as a user runs it: what it prints, writes, refuses, and its exit status."""

from __future__ import annotations

import json

import msgspec
import pytest

from pytest_inferbench.cli import main, make_parser
from pytest_inferbench.commands.report import run_html
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report.document import SCHEMA, CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.reading import read_results, write


def results(session, verdict="pass", hardware="cpu-a-2c"):
    outcome = "failed" if verdict in ("failed", "regressed") else "passed"
    test = TestResult(test="t", outcome=outcome, reason=f"why {session}", duration_s=1.0)
    fields = {"model": "net", "backend": "ort-cpu", "precision": "fp32", "hardware": hardware}
    cell = CellResult(id=f"net-{hardware}", **fields, verdict=verdict, tests=(test,))
    one = SessionResult(id=session, recorded=f"2026-01-0{len(session)}T00:00:00Z")
    return Results(inferbench="1", recorded=one.recorded, sessions=(one,), cells=(cell,))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with results of three jobs, and one that failed."""
    monkeypatch.chdir(tmp_path)
    write(results("c"), tmp_path / "cpu.json")
    write(results("gg", hardware="nvidia-h100"), tmp_path / "gpu.json")
    write(results("ooo", "failed", hardware="jetson"), tmp_path / "jobs/orin/gate.json")
    write(results("pppp", hardware="other"), tmp_path / "jobs/plain/gate.json")
    return tmp_path


@pytest.fixture
def inferbench(capsys):
    """Run a command; return its exit status, what it printed, what it complained of."""

    def run(*arguments):
        status = main(["report", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_merged_jobs_are_one_table_and_one_file(files, inferbench):
    status, out, err = inferbench("merge", "cpu.json", "gpu.json", "--to", "new/all.json")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["verdict", "pass", "pass"]
    assert lines[-3:] == [
        "inferbench: 2 cells: 2 pass",
        "cpu: 2026-01-01T00:00:00Z, 1 cell",
        "gpu: 2026-01-02T00:00:00Z, 1 cell",
    ]
    merged = read_results(files / "new/all.json")
    assert [each.name for each in merged.sessions] == ["cpu", "gpu"]
    status, out, _ = inferbench("merge", "new/all.json", "--json")
    assert json.loads(out)["cells"] == json.loads((files / "new/all.json").read_text())["cells"]


def test_what_failed_in_any_job_is_the_exit_status(files, inferbench):
    orin, plain = "jobs/orin/gate.json", "jobs/plain/gate.json"
    assert inferbench("merge", "cpu.json", plain)[0] == 0
    status, out, _ = inferbench("merge", plain, orin)
    assert status == 1
    assert "orin/gate: 2026-01-03T00:00:00Z, 1 cell" in out, "files that are called alike"


def test_a_file_that_cannot_be_read_is_said_and_the_others_are_shown(files, inferbench):
    (files / "newer.json").write_text(f'{{"schema": {SCHEMA + 1}, "cells": []}}')
    status, out, err = inferbench("merge", "cpu.json", "newer.json", "none.json")
    assert status == 1
    assert "[IB-902]" in err
    assert "[IB-900]" in err
    assert "2 pass" not in out
    assert "left out: [IB-902] newer.json is of a newer form" in out
    inferbench("merge", "cpu.json", "newer.json", "--to", "all.json")
    again, out, _ = inferbench("markdown", "all.json")
    assert again == 0
    assert out.startswith("## Inference gate: failed")
    assert inferbench("merge", "all.json", "gpu.json")[0] == 1, "what is absent stays absent"
    assert inferbench("merge", "none.json")[0] == 1
    status, out, err = inferbench("markdown", "cpu.json", "none.json")
    assert (status, out) == (1, "")
    assert "[IB-900]" in err


def test_markdown_of_one_and_of_several(files, inferbench):
    status, out, _ = inferbench("markdown", "cpu.json")
    assert status == 0
    assert out.startswith("## Inference gate: passed (1 cell: 1 pass)\n")
    status, out, _ = inferbench("markdown", "cpu.json", "gpu.json", "--to", "pr.md")
    assert (status, out) == (0, "wrote pr.md\n")
    assert "2 cells: 2 pass" in (files / "pr.md").read_text()
    (files / "folder").mkdir()
    status, _, err = inferbench("markdown", "cpu.json", "--to", "folder")
    assert status == 1
    assert "[IB-903] folder could not be written" in err


def test_the_html_report_of_merged_jobs(files, inferbench):
    pytest.importorskip("pytest_inferbench.report.html")
    status, out, _ = inferbench("html", "cpu.json", "gpu.json", "--to", "all.html")
    assert (status, out) == (0, "wrote all.html\n")
    assert "nvidia-h100" in (files / "all.html").read_text()


def test_what_is_no_place_for_a_file_is_refused_and_left_as_it_was(files, inferbench):
    before = sorted(files.rglob("*"))
    for odd in (".", "jobs", "cpu.json/x"):
        status, _, err = inferbench("markdown", "cpu.json", "--to", odd)
        assert status == 1
        assert err.startswith("[IB-903]")
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("arguments", [("merge", "odd.json"), ("history", ".")])
def test_no_document_steers_the_terminal(files, inferbench, arguments):
    odd = results("qqqqq")
    cell = msgspec.structs.replace(
        odd.cells[0], model="\x1b[31mnet\nx", codes=("\x1b]0;t\x07",), figures={"p50_ms": 1.0}
    )
    session = msgspec.structs.replace(odd.sessions[0], name="\x1b[2J")
    write(msgspec.structs.replace(odd, cells=(cell,), sessions=(session,)), files / "odd.json")
    _, out, err = inferbench(*arguments)
    assert "net" in out
    assert "\x1b" not in out + err


def test_a_folder_is_no_results_document(files):
    with pytest.raises(InferbenchError) as caught:  # which the command prints
        run_html(make_parser().parse_args(["report", "html", "."]))
    assert caught.value.code == "IB-900"


def test_the_schema_is_json(inferbench):
    status, out, _ = inferbench("schema")
    assert status == 0
    assert json.loads(out)["$defs"]["CellResult"]["required"]
