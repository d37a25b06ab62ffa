"""`--inferbench-json`: everything that was measured, as JSON that any parser takes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_inferbench.baselines.taking import NotTakenError, session_from
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.options import Options
from pytest_inferbench.report.outputs import are_wanted, write_outputs
from pytest_inferbench.report.reading import encode, read_results
from pytest_inferbench.report.results import results
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings

RUN = {
    "latency_ms": {"p50": 1.5},
    "probe_ms": 0.5,
    "set_aside": "",
    "watts_over_time": [[0.1, 9.0]],
}


@pytest.fixture
def gate(tmp_path):
    """A gate of one cell that ran, with figures that JSON has no words for."""
    settings = Settings(
        models={"net": ModelSettings(path=tmp_path / "net.onnx", task="tensors")},
        matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32", "int8")),
        source=tmp_path / "inferbench.toml",
    )
    options = Options(
        json_path=tmp_path / "new/out.json",
        markdown_path=tmp_path / "new/out.md",
        command=("-m", "latency", "--inferbench-triton-url", "grpc://me:secret@host:1"),
        require=("int8",),
    )
    gate = Gate(settings, options, Hardware("cpu-test-2c"))
    payload = {
        "cell": gate.cells[0].id,
        "figures": {
            "p5_ms": 1.5,
            "snr_db": math.inf,
            "numpy": np.float64(2.5),
            "half": np.float16(0.5),
        },
        "judgements": [{"metric": "onnx_case", "verdict": "regressed", "code": "IB-631"}],
        "runs": [RUN],
        "artifact": "ab" * 32,
        "told by a third party": {"a": np.int64(1)},
    }
    gate.ledger.note("test_own", outcome="passed", duration_s=0.25, payload=payload)
    more = {"cell": gate.cells[0].id, "runs": [RUN, {**RUN, "set_aside": "noise"}], "load": "odd"}
    gate.ledger.note("test_more", outcome="passed", payload=more)
    gate.ledger.note("test_theirs", outcome="passed")
    return gate


def test_only_cells_that_ran_with_all_their_figures(gate):
    assert write_outputs(gate, ["a problem"]) == []
    text = gate.options.json_path.read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    (cell,) = found["cells"]
    test, more = cell["tests"]
    assert (cell["precision"], test["outcome"], test["duration_s"]) == ("fp32", "passed", 0.25)
    assert test["figures"] == {"p5_ms": 1.5, "snr_db": "inf", "numpy": 2.5, "half": 0.5}
    assert test["judgements"][0]["value"] == "nan"
    assert test["more"] == {"told by a third party": {"a": 1}}
    assert more["more"] == {"load": "odd"}, "what is called by our names and is not ours"
    assert [run.get("set_aside", "") for run in cell["runs"]] == ["", "noise"]
    (session,) = found["sessions"]
    assert session["host"]["cpu"] == "cpu-test-2c"
    assert "numpy" in session["environments"]["default"]["distributions"]
    assert session["problems"] == ["a problem"]
    assert session["requirements"][0]["unmet"]
    assert "secret" not in text
    assert session["command"][-1] == "grpc://***@host:1"
    names = sorted(path.name for path in gate.options.json_path.parent.iterdir())
    assert names == ["out.json", "out.md"]


def test_a_document_reads_back_as_it_was(gate):
    made = results(gate)
    write_outputs(gate, [])
    read = read_results(gate.options.json_path)
    assert read.cells[0].verdict == made.cells[0].verdict == "regressed"
    assert read.cells[0].figures == made.cells[0].figures
    assert encode(read) == gate.options.json_path.read_bytes()
    assert read.failed


def test_settings_are_told_by_the_keys_that_a_file_has(gate):
    told = results(gate, []).sessions[-1].settings
    assert {"latency.seconds", "latency.warmup_floor", "serving.warmup"} <= told.keys()
    assert not [name for name in told if name.endswith("_s")], "a name of the program's own"


def test_how_it_ran_is_told_wherever_that_was_asked_for(gate):
    gate.options = replace(gate.options, in_process=True)  # by `addopts`: no argument says so
    (session,) = results(gate).sessions
    with pytest.raises(NotTakenError, match="in pytest's own process"):
        session_from(results(gate).cells[0], session, "a reason")


def test_what_is_no_json_leaves_the_earlier_file(gate):
    write_outputs(gate, [])
    before = gate.options.json_path.read_bytes()
    gate.notices.append(object())
    with pytest.raises(TypeError):
        write_outputs(gate, [])
    assert gate.options.json_path.read_bytes() == before


def test_github_s_summary_is_added_to_and_never_made_too_long(gate, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("what another command said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert are_wanted(gate)
    assert write_outputs(gate, []) == []
    text = summary.read_text()
    assert text.startswith("what another command said\n")
    assert text.count("## Inference gate:") == 1
    summary.write_text("x" * (1 << 20))
    assert write_outputs(gate, []) == [], "which fails no session"
    assert "IB-905" in gate.notices[-1]
    assert summary.stat().st_size == 1 << 20


def test_paths_that_cannot_be_written_are_told_one_by_one(gate, tmp_path):
    gate.options.json_path.mkdir(parents=True)
    (said,) = write_outputs(gate, [])
    assert said.startswith("[IB-704]")
    assert gate.options.markdown_path.exists()
