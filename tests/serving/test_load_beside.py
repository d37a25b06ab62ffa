"""What rounds of two servers under load come to. The rounds are given here, not measured."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from pytest_inferbench.comparing import Round
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.options import Options
from pytest_inferbench.serving.beside import (
    LoadBeside,
    LoadComparison,
    LoadSpeedup,
    ShownUnderLoad,
    _LiveServer,
)
from pytest_inferbench.serving.runs import Burst
from pytest_inferbench.serving.split import PARTS
from pytest_inferbench.settings.budgets import parse_budget, parse_budgets
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, ServingSettings
from pytest_inferbench.settings.schema import Settings as AllSettings

NOISE = (1.0, 1.01, 0.99, 1.005, 0.995)


def shown(mean_ms, queue_ms=0.0, failures=()):
    split = {**dict.fromkeys(PARTS, 0.0), "infer": mean_ms - queue_ms, "queue": queue_ms}
    latency = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "sd"), mean_ms)
    burst = Burst(
        per_s=8e3 / mean_ms,
        latency_ms=latency,
        requests=100,
        failures=dict(failures),
        split_ms=split,
        queue_ms={},
        untold={},
        server={},
        client_cpu_ms=0.1,
        bytes_out=1.0,
        bytes_in=1.0,
    )
    return ShownUnderLoad([burst, burst], {"tritonclient": "2"})


@pytest.fixture
def run(tmp_path):
    """A cell with a budget of 1.5 over another one."""
    budgets = parse_budgets({"load_speedup": {"ort-cpu-fp32 / ort-cpu-int8": 1.5}}, print)
    model = ModelSettings(path=tmp_path / "net.onnx", task="tensors", budgets=budgets)
    settings = AllSettings(
        models={"net": model},
        matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
        serving=ServingSettings(concurrency=(1, 8)),
    )
    gate = Gate(settings, Options(), Hardware("cpu-test-2c"))
    return SimpleNamespace(gate=gate, cell=gate.cells[0], comparisons={})


@pytest.fixture
def rounds(monkeypatch):
    """Let every comparison take rounds of these mean times until it is decided."""

    def rounds(partner_ms, candidate_ms, queue_ms=0.0, most=30, failures=((), ())):
        def until(self, decided, most_s, so_far=str):
            noise = itertools.cycle(NOISE)
            while not (self.rounds and decided()) and len(self.rounds) < most:
                candidate = shown(candidate_ms * next(noise), queue_ms, failures[1])
                partner = shown(partner_ms * next(noise), failures=failures[0])
                self.rounds.append(Round(partner, candidate))
                self.seconds += 10

        monkeypatch.setattr(LoadComparison, "until", until)

    return rounds


def test_twice_as_many_answers_pass_a_budget_of_half_as_many_again(run, rounds):
    rounds(10.0, 5.0)
    handle = LoadSpeedup(run)
    judged, failed = handle.judgements()
    assert (failed.metric, failed.verdict) == ("load_failures@8", Verdict.PASS)
    assert (judged.metric, judged.verdict) == ("load_speedup@8", Verdict.PASS)
    assert judged.value == pytest.approx(2, rel=0.05)
    assert "beside ort-cpu at int8" in judged.detail
    (figure,) = handle.figures().items()
    assert figure == ("load_speedup_over_ort-cpu-int8@8", pytest.approx(2, rel=0.05))


def test_too_few_answers_are_red_and_say_where_the_time_goes(run, rounds):
    rounds(10.0, 12.0, queue_ms=3.0)
    judged, _ = LoadSpeedup(run).judgements()
    assert (judged.verdict, judged.code) == (Verdict.REGRESSED, "IB-605")
    assert judged.detail.startswith("of the mean: queue +3 ms of +")


FAILING = {"HTTP 503": 20}


def test_who_fails_requests_is_red_however_fast_the_others_are(run, rounds):
    rounds(10.0, 5.0, failures=((), FAILING))
    judged, failed = LoadSpeedup(run).judgements()
    assert judged.verdict is Verdict.PASS
    assert (failed.metric, failed.code) == ("load_failures@8", "IB-850")
    assert failed.value == pytest.approx(0.2)
    assert failed.detail.endswith("of HTTP 503")
    budget = [relative("load_p50", "+10%")]
    judged, failed = beside(run, 8).judgements(budget, (8,), absolute("load_failures", 0))
    assert (judged.verdict, failed.verdict) == (Verdict.IMPROVED, Verdict.REGRESSED)
    allowed = beside(run, 8).judgements(budget, (8,), absolute("load_failures", 0.3))
    assert allowed[1].verdict is Verdict.PASS


def test_beside_who_fails_requests_nothing_can_be_said(run, rounds):
    rounds(10.0, 5.0, failures=(FAILING, ()))
    judged, failed = LoadSpeedup(run).judgements()
    assert (judged.verdict, judged.code) == (Verdict.INCONCLUSIVE, "IB-856")
    assert "ort-cpu at int8 answers too few to compare with: " in judged.detail
    assert failed.verdict is Verdict.PASS


def absolute(metric, limit):
    return parse_budget(METRICS[metric], limit)


def relative(metric, text):
    return parse_budget(METRICS[metric], text)


def beside(run, clients):
    run.comparisons[f"against@{clients}"] = LoadComparison(
        SimpleNamespace(gate=run.gate), run, "old.onnx", clients
    )
    return LoadBeside(run)


def test_relative_budgets_are_judged_against_the_other_side(run, rounds):
    rounds(10.0, 13.0, queue_ms=3.0)
    handle = beside(run, 8)
    budgets = [relative("load_p95", "+10%"), relative("load_throughput", "-10%")]
    p95, throughput = handle.judgements(budgets, (8,))
    assert (p95.metric, p95.code) == ("load_p95@8", "IB-604")
    assert p95.value == pytest.approx(13, rel=0.02)
    assert p95.baseline == pytest.approx(10, rel=0.02)
    assert throughput.metric == "load_throughput@8"
    assert throughput.value == pytest.approx(8e3 / 13, rel=0.02)
    assert throughput.change.value == pytest.approx(10 / 13 - 1, abs=0.02)
    assert handle.figures()["against_load_throughput_per_s@8"] == pytest.approx(800, rel=0.02)
    assert handle.context()["compared with"] == "old.onnx"


@pytest.mark.parametrize("ending", ["disturbed", "failed"])
def test_the_load_of_a_round_that_does_not_count_is_closed_too(run, monkeypatch, ending):
    closed = []

    class Side(_LiveServer):
        def launch(self, _):
            self.starting = Future()
            self.starting.set_result(contextlib.nullcontext())

        def open(self):
            self._loaded = SimpleNamespace(close=lambda: closed.append(self))

        def guard(self, _):
            if ending == "failed":
                raise InferbenchError("IB-301", "it died")

        def unguard(self):
            self.disturbed = "a neighbour"

        def burst(self, _):
            pass

    comparison = LoadComparison(run, run, "old", 8)
    monkeypatch.setattr(comparison, "_side", lambda run, fields: Side(run, fields, 8))
    expected = pytest.raises(InferbenchError) if ending == "failed" else contextlib.nullcontext()
    with expected:
        comparison._take([{}, {}])
    assert len(closed) == 2
    assert comparison.rounds == []


def test_equal_servers_pass_and_undecided_ones_are_said(run, rounds):
    rounds(10.0, 10.0)
    (judged,) = beside(run, 8).judgements([relative("load_p50", "+10%")], (8,))
    assert (judged.verdict, judged.code) == (Verdict.PASS, "IB-600")
    rounds(10.0, 10.0, most=2)
    (judged,) = beside(run, 1).judgements([relative("load_p50", "+10%")], (1,))
    assert (judged.verdict, judged.code) == (Verdict.INCONCLUSIVE, "IB-618")
    assert beside(run, 1).judgements([], (1,)) == []
