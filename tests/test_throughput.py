"""What is said of sweeps: judged, confirmed, recorded. They are given here, not measured."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from pytest_inferbench.baselines.schema import Addition, Session
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.launches import STATISTICS, Launch, valid
from pytest_inferbench.options import Options
from pytest_inferbench.settings.budgets import parse_budgets
from pytest_inferbench.settings.schema import LatencySettings, MatrixSettings, ModelSettings
from pytest_inferbench.settings.schema import Settings as AllSettings
from pytest_inferbench.sweeps import Sweep
from pytest_inferbench.throughput import Throughput

BATCHES = {1: 1.0, 4: 2.0}


def sweep(factor=1.0, set_aside="", p50_ms=BATCHES):
    times = {batch: ms * factor for batch, ms in p50_ms.items()}
    return Sweep(times, dict.fromkeys(times, 50), 0.5, set_aside=set_aside)


class GivenSweeps:
    """A cell's run whose sweeps are on a list."""

    def __init__(self, folder, given, budget="-5%", update=None):
        budgets = parse_budgets({} if budget is None else {"throughput": budget}, print)
        model = ModelSettings(path=folder / "net.onnx", task="tensors", budgets=budgets)
        settings = AllSettings(
            models={"net": model},
            matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
            latency=LatencySettings(runs=3),
            baselines=folder / "baselines",
        )
        self.gate = Gate(settings, Options(update=update), Hardware("cpu-test-2c"))
        self.outputs = [{"y": row} for row in np.random.default_rng(3).normal(0, 1, (4, 50))]
        self.gate._references["net"] = SimpleNamespace(outputs=self.outputs)
        self.cell = self.gate.cells[0]
        self.task = self.gate.task_of("net")
        self.artifact = SimpleNamespace(sha256="ab" * 32)
        self.launches = []
        self.sweeps = []
        self.asked = []
        self._sweeps_given = iter(given)

    def open_fields(self):
        return {"options": {}}

    def measure(self, count):
        latency_ms = dict.fromkeys(STATISTICS, 1.0)
        self.launches = [Launch(latency_ms, 100, 50.0, 60.0, 0.0, 0.5, {})] * count
        return self.launches

    def sweep(self, count, batches):
        self.asked.append(tuple(batches))
        while len(valid(self.sweeps)) < count:
            following = next(self._sweeps_given, None)
            if following is None:
                break
            self.sweeps.append(following)
        return self.sweeps


@pytest.fixture
def run(tmp_path):
    """Make the run of a cell with one recorded session: 1000 /s alone, 2000 /s in fours."""
    recording = GivenSweeps(tmp_path, [sweep()] * 3, update="add")
    session = msgspec.convert(Throughput(recording).addition(), Session)
    recording.gate.baselines.add(
        "cpu-test-2c", "net", Addition(cell="ort-cpu fp32", session=session)
    )
    recording.gate.baselines.flush()
    return lambda given, **options: GivenSweeps(tmp_path, given, **options)


def only(handle):
    (judgement,) = handle.judgements()
    return judgement


def test_figures_are_the_best_rate_and_each_batch_size(run):
    handle = Throughput(run([sweep(), sweep(1.25), sweep(0.5)]))
    assert handle.batches == (1, 4)
    assert handle.per_s(1) == pytest.approx(1000)
    assert handle.figures() == {
        "throughput_per_s": pytest.approx(2000),
        "best_batch": 4,
        "sweeps": 3,
    }
    assert [each["batch"] for each in handle.details()["batches"]] == [1, 4]
    assert handle.details()["batches"][1]["p50_ms"] == pytest.approx(2)
    assert handle._run.asked[0] == (1, 2, 4, 8)


def test_half_as_many_is_a_regression_once_fresh_sweeps_confirm_it(run):
    handle = Throughput(run([sweep(2.5)] * 6))
    judgement = only(handle)
    assert (judgement.verdict, judgement.code) == (Verdict.REGRESSED, "IB-603")
    assert judgement.value == pytest.approx(800)
    assert judgement.baseline == pytest.approx(2000)
    assert judgement.change.value == pytest.approx(-0.6)
    assert len(handle._run.sweeps) == 6
    again = only(Throughput(run([sweep(2.5)] * 3 + [sweep()] * 3)))
    assert (again.verdict, again.code) == (Verdict.INCONCLUSIVE, "IB-615")


def test_as_many_as_recorded_is_no_regression(run):
    judgement = only(Throughput(run([sweep()] * 3)))
    assert judgement.code == "IB-610"  # one recorded session cannot show that 5 % were not lost
    assert judgement.change.value == pytest.approx(0)


def test_sessions_of_other_batch_sizes_are_not_compared_with(run):
    other = sweep(p50_ms={1: 1.0, 8: 2.0})
    judgement = only(Throughput(run([other] * 3)))
    assert (judgement.verdict, judgement.code) == (Verdict.MISSING, "IB-701")


def test_an_objective_needs_no_baseline(run):
    assert only(Throughput(run([sweep()] * 3, budget="1500 /s"))).verdict is Verdict.PASS
    slow = only(Throughput(run([sweep()] * 6, budget="2500 /s")))
    assert (slow.verdict, slow.code) == (Verdict.REGRESSED, "IB-602")


def test_too_few_sweeps_that_count_say_why(run):
    judgement = only(Throughput(run([sweep(), sweep(9, set_aside="a neighbour"), sweep()])))
    assert judgement.code == "IB-612"
    assert "set aside: 1 run: a neighbour" in judgement.detail


def test_without_a_budget_it_is_measured_and_not_judged(run):
    handle = Throughput(run([sweep()] * 3, budget=None))
    assert handle.judgements() == []
    assert handle.is_optional
    assert handle.figures()["best_batch"] == 4


def test_a_session_holds_the_sweeps_beside_the_rest(run):
    handle = Throughput(run([sweep()] * 3, update="add"))
    judgement = only(handle)
    assert (judgement.code, judgement.detail) == ("IB-702", "recorded: 2000 /s -> 2000 /s")
    session = msgspec.convert(handle.addition(), Session)
    assert session.throughput_per_s == {"1": (1000.0,) * 3, "4": (2000.0,) * 3}
    assert session.batches == (1, 4)
    assert session.latency_ms["p50"]
    assert Throughput(run([sweep()] * 2, update="add")).addition() is None


def test_a_session_whose_sweeps_do_not_agree_is_refused(run):
    plain = Throughput(run([sweep()] * 3, update="add")).addition()
    plain["sweep_probe_ms"] = [0.5]
    with pytest.raises(msgspec.ValidationError, match="differ in how many sweeps"):
        msgspec.convert(plain, Session)
