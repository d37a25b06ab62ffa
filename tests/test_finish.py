"""What the end of a session says: here that nothing was recorded, and why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_inferbench.finish import finish
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.options import Options
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings


@pytest.fixture
def gate(tmp_path):
    """A gate of one cell, that is to record."""
    settings = Settings(
        models={"net": ModelSettings(path=tmp_path / "net.onnx", task="tensors")},
        matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
        baselines=tmp_path / "baselines",
        source=tmp_path / "inferbench.toml",
    )
    options = Options(update="add", reason="first")
    return Gate(settings, options, Hardware("cpu-test-2c"))


@pytest.fixture
def session():
    """As much of pytest's session as its end looks at."""
    config = SimpleNamespace(
        option=SimpleNamespace(collectonly=False),
        pluginmanager=SimpleNamespace(hasplugin=lambda name: False),
    )
    return SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)


def test_where_no_cell_was_recorded_the_first_reason_is_said(gate, session):
    why = "net on ort-cpu: [IB-612] p5 inconclusive; set aside: 8 runs: others used 53% of the CPU"
    payload = {"cell": gate.cells[0].id}
    gate.ledger.note("test_right", outcome="passed", payload=payload)
    gate.ledger.note("test_fast", outcome="skipped", reason=f"{why}\nand more", payload=payload)
    finish(gate, session)
    assert gate.notices == [f"[IB-703] --update-baselines, and no cell was recorded: {why}"]
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED


def test_without_a_reason_it_says_that_alone(gate, session):
    gate.ledger.note("test_right", outcome="passed", payload={"cell": gate.cells[0].id})
    finish(gate, session)
    assert gate.notices == ["[IB-703] --update-baselines, and no cell was recorded"]
