"""A cell at work, with real workers: what is said while it takes long."""

from __future__ import annotations

import re

import pytest

from pytest_inferbench import progress
from pytest_inferbench.gate import Gate

SETTINGS = """
cache = "cache"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 3
calibration_samples = 4
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "int8"]
[latency]
runs = 3
seconds = "50 ms"
warmup_floor = "50 ms"
warmup_ceiling = "100 ms"
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0
"""


@pytest.fixture
def gate(tmp_path, save_net):
    """A session of two cells."""
    save_net(tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)
    gate = Gate.from_folder(tmp_path)
    gate.order = tuple(cell.id for cell in gate.cells)
    yield gate
    gate.close()


@pytest.fixture
def announced(gate, monkeypatch):
    """What would be said if it took long."""
    found, announce = [], gate.progress
    monkeypatch.setattr(gate, "progress", lambda what: found.append(what) or announce(what))
    return found


def test_lines_say_which_cell_of_how_many_this_is_and_which_sample(gate, monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "FIRST_WORD_S", 0.0)
    monkeypatch.setattr(progress, "NEXT_WORD_S", 0.0)
    gate.say = lines.append
    second = gate.cells[1]
    assert len(gate.run_of(second).outputs) == 3
    (*_, last) = [line for line in lines if "running its data" in line]
    assert last.startswith(f"cell 2 of 2: {second}: running its data (")
    assert last.endswith("3 of 3 samples)")


def test_building_says_for_which_cell(gate, announced):
    assert gate.run_of(gate.cells[1]).artifact.path
    assert "cell 2 of 2: building net at int8 for ort-cpu" in announced


def test_launches_are_counted(gate, announced):
    run = gate.run_of(gate.cells[0])
    run.measure(3)
    sampled = [re.search(r"run \d of \d: sample", what) for what in announced]
    nth = [match.group() for match in sampled if match]
    assert nth == ["run 1 of 3: sample", "run 2 of 3: sample", "run 3 of 3: sample"]
    announced.clear()
    assert run.outputs
    assert not any("run 3" in what for what in announced)


def test_a_cell_that_the_session_does_not_run_has_no_number(gate):
    gate.order = (gate.cells[1].id,)
    assert gate.nth(gate.cells[0]) == ""
    assert gate.nth(gate.cells[1]) == "cell 1 of 1: "
