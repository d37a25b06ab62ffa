"""Power and energy through the whole gate, on whatever this machine tells of them."""

from __future__ import annotations

import json

import pytest

from pytest_inferbench.hardware.rails import find_rails
from pytest_inferbench.hardware.rapl import find_rapl

TELLS = bool(find_rapl().domains or find_rails())
LIMITS = '\n[models.net.budgets]\npower = "10 kW"\nenergy = "+5%"\np5 = false\np50 = false\n'


@pytest.fixture
def limited(project):
    settings = project.path / "inferbench.toml"
    settings.write_text(settings.read_text() + LIMITS)
    return project


def test_without_a_budget_there_is_no_such_test(project, gate):
    result = gate("--collect-only", "-q", "-m", "latency or energy")
    result.stdout.fnmatch_lines(["*test_latency*"])
    result.stdout.no_fnmatch_line("*test_energy*")


def test_with_one_it_is_collected_and_selected_by_its_marker(limited, gate):
    result = gate("--collect-only", "-q", "-m", "energy")
    result.stdout.fnmatch_lines(["*test_energy*net-ort-cpu-fp32*"])
    result.stdout.no_fnmatch_line("*test_latency*")


@pytest.mark.skipif(TELLS, reason="this machine tells its power")
def test_a_budget_on_what_the_machine_hides_is_inconclusive(limited, gate):
    result = gate("-m", "energy or memory", "-rs", "--inferbench-json", "out.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*IB-660*power inconclusive*energy*cannot be read on this*"])
    result.assert_outcomes(passed=1, skipped=1)  # its memory has a budget by default
    (cell,) = json.loads((limited.path / "out.json").read_text())["cells"]
    assert not any("watts" in test.get("figures", {}) for test in cell["tests"])


@pytest.mark.skipif(TELLS, reason="this machine tells its power")
def test_what_is_required_must_be_read(limited, gate):
    result = gate("-m", "energy", "--inferbench-require", "ort-cpu")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*IB-202*", "*IB-660*"])


@pytest.mark.skipif(not TELLS, reason="needs a machine that tells its power")
def test_power_is_measured_where_it_can_be(limited, gate):
    result = gate("-m", "energy", "-rs", "--inferbench-json", "out.json")
    assert result.ret == 0
    (cell,) = json.loads((limited.path / "out.json").read_text())["cells"]
    figures = {name: v for test in cell["tests"] for name, v in test.get("figures", {}).items()}
    assert 0 < figures["watts"] < 10_000
    assert figures["joules_per_inference"] > 0
    result.stdout.fnmatch_lines(["*W*J/inf*"])
