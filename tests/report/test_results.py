"""`--inferbench-json`: everything that was measured, as JSON that any parser takes."""

from __future__ import annotations

import json
import math

import pytest

from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.options import Options
from pytest_inferbench.report.results import write_results
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings


@pytest.fixture
def gate(tmp_path):
    """A gate of one cell that ran, with figures that JSON has no words for."""
    settings = Settings(
        models={"net": ModelSettings(path=tmp_path / "net.onnx", task="tensors")},
        matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32", "int8")),
    )
    gate = Gate(settings, Options(json_path=tmp_path / "new/out.json"), Hardware("cpu-test-2c"))
    payload = {"cell": gate.cells[0].id, "figures": {"p5_ms": 1.5, "snr_db": math.inf}}
    gate.ledger.note("test_own", outcome="passed", duration_s=0.25, payload=payload)
    gate.ledger.note("test_theirs", outcome="passed")
    return gate


def test_only_cells_that_ran_with_all_their_figures(gate):
    write_results(gate)
    text = gate.options.json_path.read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    (cell,) = found["cells"]
    (test,) = cell["tests"]
    assert (cell["precision"], test["outcome"], test["duration_s"]) == ("fp32", "passed", 0.25)
    assert test["figures"] == {"p5_ms": 1.5, "snr_db": "inf"}
    (session,) = found["sessions"]
    assert session["host"]["cpu"] == "cpu-test-2c"
    assert "numpy" in session["environments"]["default"]["distributions"]
    assert [path.name for path in gate.options.json_path.parent.iterdir()] == ["out.json"]


def test_what_is_no_json_leaves_the_earlier_file(gate):
    write_results(gate)
    before = gate.options.json_path.read_bytes()
    gate.notices.append(object())
    with pytest.raises(TypeError):
        write_results(gate)
    assert gate.options.json_path.read_bytes() == before
    assert [path.name for path in gate.options.json_path.parent.iterdir()] == ["out.json"]
