"""What a run pays, counted: times differ from machine to machine, numbers of calls do not."""

from __future__ import annotations

import re

import pytest

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.requirements import unmet

COUNTER = """
import collections, os, sys

OURS = os.sep + "pytest_inferbench" + os.sep
calls = collections.Counter()

def count(frame, event, _argument):
    if event == "call" and OURS in frame.f_code.co_filename:
        calls[os.path.basename(frame.f_code.co_filename), frame.f_code.co_name] += 1

sys.setprofile(count)

def pytest_unconfigure():
    sys.setprofile(None)
    for (file, function), number in sorted(calls.items()):
        print(f"CALLS {file}:{function} {number}")
    print(f"CALLS all {sum(calls.values())}")
"""


@pytest.fixture
def calls(project, monkeypatch):
    """Count the calls of our functions while so many cells are collected for two tests each."""
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    project.makepyfile(counter=COUNTER)
    project.makepyfile(test_own="def test_a(cell): pass\ndef test_b(latency): pass\n")
    settings = project.path / "inferbench.toml"
    head = settings.read_text().partition("[models.net]")[0]

    def run(cells, *arguments):
        tables = (f'[models.m{i}]\npath = "net.onnx"\ntask = "tensors"\n' for i in range(cells))
        settings.write_text(head + "".join(tables))
        result = project.runpytest_subprocess(
            "-p", "counter", "--collect-only", "-q", "test_own.py", *arguments
        )
        assert f"{2 * cells} tests collected" in result.stdout.str()
        return {
            name: int(number)
            for name, number in re.findall(r"^CALLS (\S+) (\d+)$", result.stdout.str(), re.M)
        }

    return run


def test_collection_costs_the_same_for_every_item(calls):
    few, many = calls(50), calls(500)
    assert many["all"] > 500, "nothing was counted"
    assert many["all"] < 11 * few["all"]
    # what is asked once a kind or a run, not once an item
    for name in (
        "convert.py:_fields",
        "items.py:marks_of",
        "items.py:_wanted",
        "matrix.py:_places",
    ):
        assert 0 < many[name] == few[name], name
    # what a cell keeps once it is computed
    for name in ("matrix.py:id", "matrix.py:markers"):
        assert 0 < many[name] <= 500, name


def test_requirements_look_through_the_items_once():
    cells = [Cell(f"m{i}", "ort-cpu", "fp32", "cpu-x") for i in range(100)]
    looked = []

    class Counting(Ledger):
        @property
        def ours(self):
            looked.append(1)
            return super().ours

    ledger = Counting()
    for cell in cells:
        ledger.note(cell.id, outcome="passed", payload={"cell": cell.id})
    assert unmet("fp32", cells, ledger) is None
    assert len(looked) == 1
