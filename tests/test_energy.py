"""Power, energy and memory on the device: judged like time where they are told, else said so.

The launches are given here, not measured.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from pytest_inferbench.baselines.schema import Addition, Session
from pytest_inferbench.energy import Energy
from pytest_inferbench.footprint import Memory
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.launches import STATISTICS, Launch, watched
from pytest_inferbench.options import Options
from pytest_inferbench.settings.budgets import parse_budgets
from pytest_inferbench.settings.schema import LatencySettings, MatrixSettings, ModelSettings
from pytest_inferbench.settings.schema import Settings as AllSettings
from pytest_inferbench.timing import Latency

OUTPUTS = [{"y": row} for row in np.random.default_rng(3).normal(0, 1, (4, 50))]
NVIDIA = "nvidia-test"
WHY = "only root may read it"


def launch(**told):
    latency_ms = {name: 1 + 0.1 * i for i, name in enumerate(STATISTICS)}
    return Launch(latency_ms, 100, 50.0, 60.0, 0.0, 0.5, {"onnxruntime": "1.32.0"}, **told)


TOLD = {"watts": 80.0, "joules": 0.4, "device_mib": 900.0, "device_growth_mib": 0.0}
NOT_TOLD = {
    "missing": dict.fromkeys(("power", "energy", "device_memory", "device_memory_growth"), WHY)
}


def fault(key, text):
    raise AssertionError((key, text))


class GivenRun:
    """A cell's run on a GPU, or on the CPU, whose launches are given."""

    def __init__(self, folder, given, budgets, *, device="nvidia", **options):
        model = ModelSettings(
            path=folder / "net.onnx", task="tensors", budgets=parse_budgets(budgets, fault)
        )
        settings = AllSettings(
            models={"net": model},
            matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
            latency=LatencySettings(runs=3),
            baselines=folder / "baselines",
        )
        self.gate = Gate(settings, Options(reason="why", **options), Hardware("cpu-test-2c"))
        self.gate._references["net"] = SimpleNamespace(outputs=OUTPUTS)
        (cell,) = self.gate.cells
        self.task = self.gate.task_of("net")
        hardware = NVIDIA if device == "nvidia" else cell.hardware
        self.cell = cell.__class__(
            **{**{f: getattr(cell, f) for f in cell.__dataclass_fields__}, "device": device}
            | {"hardware": hardware}
        )
        self.artifact = SimpleNamespace(sha256="ab" * 32)
        self.outputs, self.launches, self._given = OUTPUTS, [], list(given)
        self.comparisons = {}

    def open_fields(self):
        return {"options": {}}

    def measure(self, count):
        self.launches = self._given[:count]
        return self.launches


@pytest.fixture
def given_run(tmp_path):
    return lambda given, budgets, **options: GivenRun(tmp_path, given, budgets, **options)


@pytest.fixture
def recorded(given_run):
    """Record a session of these launches; return runs that are judged against it."""

    def recorded(given, budgets):
        run = given_run(given, budgets, update="add")
        session = msgspec.convert(Latency(run).addition(), Session)
        run.gate.baselines.add(NVIDIA, "net", Addition(cell="ort-cpu fp32", session=session))
        run.gate.baselines.flush()
        return lambda now: given_run(now, budgets)

    return recorded


def judged(handle):
    return {j.metric: j for j in handle.judgements()}


def test_without_a_budget_nothing_is_judged_and_everything_is_told(given_run):
    handle = Energy(given_run([launch(**TOLD)] * 3, {}))
    assert handle.judgements() == []
    assert handle.figures() == {"watts": 80.0, "joules_per_inference": 0.4}


def test_the_latency_of_a_cell_shows_them_beside_it(given_run):
    figures = Latency(given_run([launch(**TOLD)] * 3, {})).figures()
    assert (figures["watts"], figures["device_peak_mib"]) == (80.0, 900.0)
    assert "watts" not in Latency(given_run([launch(**NOT_TOLD)] * 3, {})).figures()


def test_objectives(given_run):
    given = [launch(**{**TOLD, "watts": watts}) for watts in (79.0, 80.0, 81.0) * 2]
    verdicts = judged(Energy(given_run(given, {"power": "60 W", "energy": "500 mJ"})))
    assert (verdicts["power"].verdict, verdicts["power"].code) == (Verdict.REGRESSED, "IB-602")
    assert verdicts["energy"].verdict is Verdict.PASS


def test_a_baseline_hears_more_energy(recorded):
    now = recorded([launch(**TOLD)] * 3, {"energy": "+5%", "power": "+5%"})
    worse = {**TOLD, "joules": 0.8}
    verdicts = judged(Energy(now([launch(**worse)] * 6)))
    assert (verdicts["energy"].verdict, verdicts["energy"].code) == (Verdict.REGRESSED, "IB-603")
    assert verdicts["energy"].baseline == pytest.approx(0.4)
    assert verdicts["power"].verdict is Verdict.INCONCLUSIVE  # one session hears no +5 %


@pytest.mark.parametrize("limit", ["+5%", "60 W"])
def test_what_cannot_be_read_never_passes(recorded, limit):
    now = recorded([launch(**TOLD)] * 3, {"power": limit})
    judgement = judged(Energy(now([launch(**TOLD), launch(**NOT_TOLD), launch(**TOLD)])))["power"]
    assert (judgement.verdict, judgement.code) == (Verdict.INCONCLUSIVE, "IB-660")
    assert WHY in judgement.detail


def test_side_by_side_nobody_knows_whose_power_it_was(given_run):
    budgets = {"power": "+5%", "energy": "500 mJ"}
    handle = Energy(given_run([launch(**TOLD)] * 3, budgets, against_model=Path(__file__)))
    verdicts = judged(handle)
    assert (verdicts["power"].verdict, verdicts["power"].code) == (
        Verdict.INCONCLUSIVE,
        "IB-661",
    )
    assert verdicts["energy"].verdict is Verdict.PASS, "an objective is about this build alone"
    assert handle.figures() == {}


def test_a_baseline_that_did_not_record_it_is_missing(recorded):
    now = recorded([launch(**NOT_TOLD)] * 3, {"power": "+5%"})
    assert judged(Energy(now([launch(**TOLD)] * 3)))["power"].code == "IB-701"


def test_a_session_records_what_every_run_told(given_run):
    run = given_run([launch(**TOLD)] * 3, {}, update="add")
    session = msgspec.convert(Latency(run).addition(), Session)
    assert session.runs_of("power") == (80.0,) * 3
    assert session.runs_of("energy") == (0.4,) * 3
    assert session.runs_of("device_memory") == (900.0,) * 3
    some = given_run([launch(**TOLD), launch(**NOT_TOLD), launch(**TOLD)], {}, update="add")
    session = msgspec.convert(Latency(some).addition(), Session)
    assert (session.runs_of("power"), session.runs_of("device_memory")) == ((), ())


def test_a_session_of_an_earlier_version_is_read():
    plain = {"recorded": "2026-01-01T00:00:00Z", "artifact": "ab" * 32, "probe_ms": [0.5]}
    session = msgspec.convert(plain, Session)
    assert session.runs_of("power") == session.runs_of("device_memory") == ()
    assert "energy" not in msgspec.to_builtins(session)


def test_memory_on_the_device_has_a_limit_to_its_growth(given_run):
    given = [launch(**{**TOLD, "device_growth_mib": mib}) for mib in (64.0, 40.0, 50.0)]
    verdicts = judged(Memory(given_run(given, {})))
    growth = verdicts["device_memory_growth"]
    assert (growth.verdict, growth.value) == (Verdict.REGRESSED, 40.0)
    assert verdicts["memory_growth"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("budgets", "codes"),
    [({}, {}), ({"device_memory_growth": "8 MiB"}, {"device_memory_growth": "IB-660"})],
)
def test_a_default_asks_for_nothing_that_the_machine_does_not_tell(given_run, budgets, codes):
    verdicts = judged(Memory(given_run([launch(**NOT_TOLD)] * 3, budgets)))
    del verdicts["memory_growth"]
    assert {metric: j.code for metric, j in verdicts.items()} == codes


def test_a_cpu_has_no_memory_of_its_own(given_run):
    budgets = {"device_memory": "1 GiB", "device_memory_growth": "8 MiB"}
    run = given_run([launch(**NOT_TOLD)] * 3, budgets, device="cpu")
    assert set(judged(Memory(run))) == {"memory_growth"}


@pytest.mark.parametrize(
    ("hardware", "device", "options", "told"),
    [
        ("cpu-x", "cpu", {}, {"device": "cpu", "index": 0}),
        ("cpu-x", "cpu", {"device": "CPU"}, {"device": "cpu", "index": 0}),
        ("nvidia-x", "nvidia", {"device_id": 2}, {"device": "nvidia", "index": 2}),
        ("nvidia-x", "nvidia", {"device": "cuda:1"}, {"device": "nvidia", "index": 1}),
        ("jetson-x", "nvidia", {}, {"device": "jetson", "index": 0}),
        ("cpu-x", "remote", {}, {"device": "remote", "index": 0}),
    ],
)
def test_the_device_that_is_watched(hardware, device, options, told):
    assert watched(SimpleNamespace(hardware=hardware, device=device), options) == told
