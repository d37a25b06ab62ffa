"""Under xdist: the same outcomes, each cell opened once, one measurement at a time."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("xdist")

SPY = """
import json, os, time
from pytest_inferbench import cellrun, gate

def log(what, **more):
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **more})
    with open("spy.jsonl", "a") as file:
        file.write(line + "\\n")

opening, measuring = cellrun.CellRun._open, cellrun.launch_once

def _open(self):
    if self._worker is None:
        log("open", cell=self.cell.id)
    return opening(self)

def launch_once(run, fields):
    log("start", cell=run.cell.id)
    try:
        return measuring(run, fields)
    finally:
        log("end", cell=run.cell.id)

cellrun.CellRun._open, cellrun.launch_once = _open, launch_once
"""


@pytest.fixture
def spied(project):
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('precisions = ["fp32"]', 'precisions = ["fp32", "fp16"]')
    file.write_text(text.replace('["ort-cpu"]', '["ort-cpu", "trt"]'))
    project.makeconftest(SPY)
    return project


def log(project):
    return [json.loads(line) for line in (project.path / "spy.jsonl").read_text().splitlines()]


def outcomes(project):
    cells = json.loads((project.path / "out.json").read_text())["cells"]
    return {t["test"]: (t["outcome"], t["reason"][:20]) for c in cells for t in c["tests"]}


@pytest.mark.slow
def test_same_outcomes_each_cell_opened_once_one_measurement_at_a_time(spied, gate):
    # The contract's questions open cells over and over, and the reference beside them.
    some = ("--inferbench-json", "out.json", "-m", "not latency and not conformance")
    alone = gate(*some)
    expected = outcomes(spied)
    (spied.path / "spy.jsonl").unlink()
    spread = gate("-n", "2", *some)
    assert outcomes(spied) == expected
    assert spread.ret == alone.ret == 0
    opened = [line["cell"] for line in log(spied) if line["what"] == "open"]
    assert sorted(opened) == sorted(set(opened)), "a cell was opened twice"
    assert len(opened) == 2
    spans = sorted((line["at"], line["what"]) for line in log(spied) if line["what"] != "open")
    assert [what for _, what in spans] == ["start", "end"] * (len(spans) // 2), "two at once"
    assert len({line["pid"] for line in log(spied)}) == 2, "one process did it all"


def test_baselines_are_merged_by_the_controller(spied, gate):
    result = gate("-n", "2", "-m", "latency", "--update-baselines")
    assert result.ret == 0
    (file,) = spied.path.glob("baselines/*/*.json")
    cells = json.loads(file.read_text())["cells"]
    assert {key: len(cell["sessions"]) for key, cell in cells.items()} == {
        "ort-cpu fp16": 1,
        "ort-cpu fp32": 1,
    }
    result.stdout.fnmatch_lines(["recorded net on ort-cpu at fp32*", "wrote *net.json"])


def test_requirements_hold(spied, gate):
    result = gate("-n", "2", "-m", "accuracy", "--inferbench-require", "ort-cpu")
    assert result.ret == 0
    result = gate("-n", "2", "-m", "accuracy", "--inferbench-require", "trt")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED require::trt*"])


def test_nothing_that_can_run_fails_here_too(spied, gate):
    result = gate("-n", "2", "-m", "trt")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing reached a verdict*"])
