"""What is said of launches: confirmed, set aside, recorded. They are given here, not measured."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from pytest_inferbench.baselines.differences import lines_of
from pytest_inferbench.baselines.schema import Addition, Session
from pytest_inferbench.footprint import ColdStart, Memory
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.launches import STATISTICS, Launch
from pytest_inferbench.options import Options
from pytest_inferbench.settings.schema import LatencySettings, MatrixSettings, ModelSettings
from pytest_inferbench.settings.schema import Settings as AllSettings
from pytest_inferbench.timing import Latency

OUTPUTS = [{"y": row} for row in np.random.default_rng(3).normal(0, 1, (4, 50))]


def launch(ms=1.0, set_aside="", **changed):
    figures = {
        "samples": 100,
        "cold_start_ms": 50.0,
        "peak_mib": 60.0,
        "growth_mib": 0.0,
        "probe_ms": 0.5,
        "versions": {"onnxruntime": "1.31.1"},
    }
    latency_ms = {name: ms * (1 + 0.1 * i) for i, name in enumerate(STATISTICS)}
    return Launch(latency_ms, **{**figures, **changed}, set_aside=set_aside)


class GivenRun:
    """A cell's run whose launches are on a list."""

    def __init__(self, folder, given, update=None, outputs=OUTPUTS):
        settings = AllSettings(
            models={"net": ModelSettings(path=folder / "net.onnx", task="tensors")},
            matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
            latency=LatencySettings(runs=3),
            baselines=folder / "baselines",
        )
        self.gate = Gate(settings, Options(update=update, reason="why"), Hardware("cpu-test-2c"))
        self.gate._references["net"] = SimpleNamespace(outputs=OUTPUTS)
        self.cell = self.gate.cells[0]
        self.task = self.gate.task_of("net")
        self.artifact = SimpleNamespace(sha256="ab" * 32)
        self.outputs = outputs
        self.launches = []
        self._given = iter(given)

    def open_fields(self):
        return {"options": {"intra_op_num_threads": 1}}

    def measure(self, count):
        while sum(not done.set_aside for done in self.launches) < count:
            following = next(self._given, None)
            if following is None:
                break
            self.launches.append(following)
        return self.launches


@pytest.fixture
def run(tmp_path):
    """Make the run of a cell with one recorded session of 1 ms."""
    recording = GivenRun(tmp_path, [launch()] * 3, update="add")
    session = msgspec.convert(Latency(recording).addition(), Session)
    recording.gate.baselines.add(
        "cpu-test-2c", "net", Addition(cell="ort-cpu fp32", session=session)
    )
    recording.gate.baselines.flush()
    return lambda given, **options: GivenRun(tmp_path, given, **options)


def p5(handle):
    return next(j for j in handle.judgements() if j.metric == "p5")


def test_a_regression_is_believed_when_fresh_launches_confirm_it(run):
    handle = Latency(run([launch(2.0)] * 6))
    judgement = p5(handle)
    assert (judgement.verdict, judgement.code) == (Verdict.REGRESSED, "IB-603")
    assert "1 recorded session (cpu-test-2c/net.json, last " in judgement.detail
    assert len(handle._run.launches) == 6


def test_a_regression_that_is_not_confirmed_is_inconclusive(run):
    judgement = p5(Latency(run([launch(2.0)] * 3 + [launch()] * 3)))
    assert (judgement.verdict, judgement.code) == (Verdict.INCONCLUSIVE, "IB-615")
    assert "3 further runs did not confirm it" in judgement.detail


def test_too_few_runs_that_count_say_why_the_others_do_not(run):
    aside = launch(9.0, set_aside="other processes used 64% of the CPU")
    judgement = p5(Latency(run([launch(), aside, launch()])))
    assert (judgement.verdict, judgement.code) == (Verdict.INCONCLUSIVE, "IB-612")
    assert "there were 2; set aside: 1 run: other processes used 64%" in judgement.detail


def test_runs_set_aside_weigh_nothing(run):
    aside = launch(9.0, set_aside="other processes")
    handle = Latency(run([launch(), aside, launch(), aside, launch()]))
    assert p5(handle).value == pytest.approx(1)
    assert handle.figures()["runs"] == 3


def test_an_update_records_instead_of_comparing(run):
    handle = Latency(run([launch(2.0)] * 3, update="add"))
    judgement = p5(handle)
    assert (judgement.verdict, judgement.code) == (Verdict.PASS, "IB-702")
    assert judgement.detail == "recorded: 1 ms -> 2 ms"
    session = handle.addition()
    assert session["reason"] == "why"
    assert session["latency_ms"]["p5"] == [2.0, 2.0, 2.0]
    assert session["environment"]["option intra_op_num_threads"] == "1"


def test_too_few_runs_are_never_recorded(run):
    handle = Latency(run([launch()] * 2, update="add"))
    assert p5(handle).code == "IB-612"
    assert handle.addition() is None


def test_wrong_outputs_are_never_recorded(run):
    wrong = [{"y": -sample["y"]} for sample in OUTPUTS]
    handle = Latency(run([launch()] * 3, update="add", outputs=wrong))
    assert [j.metric for j in handle.judgements()] == ["centred_cosine"]
    assert handle.addition() is None


def test_a_failure_names_what_differs_and_what_was_set_aside(run):
    newer = launch(2.0, versions={"onnxruntime": "1.32.0"})
    handle = Latency(run([launch(set_aside="a neighbour"), *[newer] * 6]))
    assert p5(handle).verdict is Verdict.REGRESSED
    context = handle.context()
    assert lines_of(handle.differs()) == ["packages differ: onnxruntime 1.31.1 -> 1.32.0"]
    assert context["set aside"] == "1 run: a neighbour"
    assert "--update-baselines" in context["what to do"]


def test_memory_grows_as_little_as_its_least_run_does(run):
    launches = [launch(growth_mib=growth) for growth in (40.0, 17.0, 30.0)]
    handle = Memory(run(launches))
    assert handle.growth_mib == 17
    (growth,) = (j for j in handle.judgements() if j.metric == "memory_growth")
    assert growth.verdict is Verdict.REGRESSED


def test_a_cold_start_has_an_objective_by_default(run):
    fast = ColdStart(run([launch()] * 3)).judgements()
    slow = ColdStart(run([launch(cold_start_ms=90_000.0)] * 6)).judgements()
    assert [j.verdict for j in (*fast, *slow)] == [Verdict.PASS, Verdict.REGRESSED]
