"""What is said of runs of load: judged, explained, confirmed, recorded. They are given here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from pytest_inferbench.baselines.schema import Addition, Session
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.launches import valid
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.options import Options
from pytest_inferbench.serving.exposition import Told
from pytest_inferbench.serving.handle import Load
from pytest_inferbench.serving.runs import LATENCIES, LoadRun, _queue, strangers
from pytest_inferbench.serving.split import PARTS, Snapshot
from pytest_inferbench.serving.statistics import Watched
from pytest_inferbench.settings.budgets import parse_budgets
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, ServingSettings
from pytest_inferbench.settings.schema import Settings as AllSettings

SPLIT = dict(zip(PARTS, (1.0, 0.2, 0.1, 3.0, 0.1, 0.6), strict=True))
HARDWARE = "cpu-test-2c"


def load_run(queue_ms=0.2, clients=1, failures=(), set_aside="", untold=(), noise=1.0):
    """A closed loop: what a request takes more, every client gets through less."""
    split = {**SPLIT, "queue": queue_ms}
    mean_ms = sum(split.values()) * noise
    factors = dict(zip(LATENCIES, (1.0, 0.1, 1.0, 1.1, 1.2, 1.4), strict=True))
    return LoadRun(
        per_s=clients * 1e3 / mean_ms,
        latency_ms={name: mean_ms * factor for name, factor in factors.items()},
        requests=1000,
        failures=dict(failures),
        split_ms=split,
        queue_ms={"mean": queue_ms, "p95": 2 * queue_ms},
        untold=dict(untold),
        server={"batch_mean": 1.0},
        client_cpu_ms=0.1,
        bytes_out=100.0,
        bytes_in=100.0,
        probe_ms=0.5,
        set_aside=set_aside,
    )


class GivenLoads:
    """A cell's run whose runs of load are made by a function of the number of clients."""

    def __init__(self, folder, make, budgets=None, update=None, concurrency=(1, 8), runs=3):
        model = ModelSettings(
            path=folder / "net.onnx",
            task="tensors",
            budgets=parse_budgets({"load_p50": False, **(budgets or {})}, print),
        )
        settings = AllSettings(
            models={"net": model},
            matrix=MatrixSettings(backends=("ort-cpu",), precisions=("fp32",)),
            serving=ServingSettings(concurrency=concurrency, runs=runs),
            baselines=folder / "baselines",
        )
        self.gate = Gate(settings, Options(update=update), Hardware(HARDWARE))
        self.outputs = [{"y": row} for row in np.random.default_rng(3).normal(0, 1, (4, 50))]
        self.gate._references["net"] = SimpleNamespace(outputs=self.outputs)
        self.cell = self.gate.cells[0]
        self.task = self.gate.task_of("net")
        self.artifact = SimpleNamespace(sha256="ab" * 32)
        self.launches, self.loads = [], {}
        self._make = make

    def open_fields(self):
        return {"options": {}}

    def put_under_load(self, clients, count):
        runs = self.loads.setdefault(clients, [])
        while len(valid(runs)) < count and len(runs) < count + 3:
            runs.append(self._make(clients, len(runs)))
        return runs


@pytest.fixture
def given(tmp_path):
    """Make the run of a cell with one recorded session: 5 ms a request."""
    recording = GivenLoads(tmp_path, lambda clients, _: load_run(clients=clients), update="add")
    handle = Load(recording)
    handle.judgements()
    session = msgspec.convert(handle.addition(), Session)
    recording.gate.baselines.add(HARDWARE, "net", Addition(cell="ort-cpu fp32", session=session))
    recording.gate.baselines.flush()
    return lambda make, **options: GivenLoads(tmp_path, make, **options)


def by_metric(handle):
    return {judgement.metric: judgement for judgement in handle.judgements()}


def slower(clients, _):
    return load_run(queue_ms=20.0 if clients == 8 else 0.2, clients=clients)


def test_a_regression_names_the_part_that_moved_and_at_how_many_clients(given):
    judged = by_metric(Load(given(slower, budgets={"load_p95": "+10%"})))
    assert judged["load_p95@1"].verdict is not Verdict.REGRESSED
    regressed = judged["load_p95@8"]
    assert (regressed.verdict, regressed.code) == (Verdict.REGRESSED, "IB-603")
    assert regressed.detail.startswith("of the mean: queue +19.8 ms of +19.8 ms; ")
    assert "8 clients" in regressed.detail


def test_throughput_is_judged_as_a_rate(given):
    handle = Load(given(slower, budgets={"load_throughput": "-10%"}))
    regressed = by_metric(handle)["load_throughput@8"]
    assert (regressed.verdict, regressed.code) == (Verdict.REGRESSED, "IB-603")
    assert regressed.baseline == pytest.approx(1600)
    assert regressed.value == pytest.approx(8e3 / 24.8)
    assert "queue +19.8 ms" in regressed.detail
    assert handle.per_s(8) == pytest.approx(8e3 / 24.8)
    assert handle.split_ms(8)["queue"] == 20


def test_what_fresh_runs_do_not_confirm_is_inconclusive(given):
    def once(clients, index):
        return load_run(queue_ms=20.0 if index < 3 else 0.2, clients=clients)

    judged = by_metric(Load(given(once, budgets={"load_p95": "+10%"}, concurrency=(8,))))
    assert judged["load_p95@8"].code == "IB-615"


def test_other_numbers_of_clients_are_no_baseline(given):
    judged = by_metric(Load(given(slower, budgets={"load_p95": "+10%"}, concurrency=(4,))))
    assert (judged["load_p95@4"].verdict, judged["load_p95@4"].code) == (
        Verdict.MISSING,
        "IB-701",
    )


def test_failed_requests_fail_with_their_reasons(given):
    def failing(clients, _):
        return load_run(clients=clients, failures={"HTTP 429": 6, "timeout": 1})

    judged = by_metric(Load(given(failing)))["load_failures"]
    assert (judged.verdict, judged.code) == (Verdict.REGRESSED, "IB-850")
    assert judged.detail == "42 of 6000 requests failed; 36 of HTTP 429; 6 of timeout"
    allowed = by_metric(Load(given(failing, budgets={"load_failures": 0.01})))
    assert allowed["load_failures"].verdict is Verdict.PASS


def test_failed_requests_are_judged_though_no_budget_compares_anything(given):
    def failing(clients, _):
        return load_run(clients=clients, failures={"HTTP 429": 10})

    run = given(failing)
    run.gate.options = dataclasses.replace(run.gate.options, against_model=Path("old.onnx"))
    (judged,) = Load(run).judgements()
    assert (judged.metric, judged.code) == ("load_failures", "IB-850")


def test_an_objective_needs_no_baseline_and_says_what_the_time_is_made_of(given):
    handle = Load(given(slower, budgets={"load_p95": "10 ms"}, concurrency=(8,)))
    judged = by_metric(handle)["load_p95@8"]
    assert (judged.verdict, judged.code) == (Verdict.REGRESSED, "IB-602")
    assert by_metric(Load(given(slower, budgets={"load_p95": "90 ms"})))["load_p95@8"].code == (
        "IB-600"
    )


def test_the_queue_is_an_objective(given):
    def make(clients, _):
        return load_run(queue_ms=20.0, clients=clients)

    judged = by_metric(Load(given(make, budgets={"queue_p95": "5 ms"}, concurrency=(8,))))
    queue = judged["queue_p95@8"]
    assert (queue.verdict, queue.code) == (Verdict.REGRESSED, "IB-602")
    assert queue.value == pytest.approx(40)


def test_without_a_percentile_of_the_queue_nothing_is_said_of_it(given):
    def make(clients, _):
        return dataclasses.replace(
            load_run(clients=clients),
            queue_ms={"mean": 0.2},
            untold={"queue_p95": "it offers no percentiles"},
            strangers="others ask this server too",
        )

    budgets = {"queue_p95": "5 ms", "queue_mean": "5 ms"}
    handle = Load(given(make, budgets=budgets, concurrency=(8,)))
    judged = by_metric(handle)
    queue = judged["queue_p95@8"]
    assert (queue.verdict, queue.code) == (Verdict.INCONCLUSIVE, "IB-660")
    assert queue.detail == "the server does not tell it: it offers no percentiles"
    assert judged["queue_mean@8"].verdict is Verdict.PASS
    assert judged["queue_mean@8"].detail.endswith("others ask this server too")
    assert handle.details()["load"][0]["strangers"] == "others ask this server too"


@pytest.mark.parametrize(("served", "is_said"), [(1600, False), (3000, True)])
def test_requests_of_others_are_said(served, is_said):
    plan = LoadPlan("http://127.0.0.1:8000", "net", clients=8, seconds=2.0, warmup_s=0.5)
    assert bool(strangers(plan, LoadResult("http", 8, 2.0, 1000, {}), served)) is is_said


@pytest.mark.parametrize(
    ("is_owned", "quantiles", "has"), [(True, {0.95: 3.0}, 1), (True, {}, 0), (False, {0.95: 3}, 0)]
)
def test_a_percentile_is_taken_from_a_server_of_our_own_alone(is_owned, quantiles, has):
    queue_ms, untold = _queue(Snapshot(), Watched(last=Told(queue_ms=quantiles)), is_owned)
    assert ("p95" in queue_ms, "queue_p95" in untold) == (has, not has)


def test_runs_that_do_not_count_are_said(given):
    def disturbed(clients, index):
        return load_run(clients=clients, set_aside="a neighbour" if index else "")

    handle = Load(given(disturbed, budgets={"load_p95": "+10%"}, concurrency=(8,)))
    judged = by_metric(handle)["load_p95@8"]
    assert judged.code == "IB-612"
    assert "set aside: 5 runs: a neighbour" in judged.detail


def test_a_session_holds_load_by_number_of_clients(given):
    handle = Load(given(slower, update="add", budgets={"load_p50": "+10%"}))
    codes = {metric: judgement.code for metric, judgement in by_metric(handle).items()}
    assert codes == {"load_failures": "IB-600", "load_p50@1": "IB-702", "load_p50@8": "IB-702"}
    session = msgspec.convert(handle.addition(), Session)
    assert session.latency_ms == {}
    assert session.runs_of("load_p95@8") == (pytest.approx(24.8 * 1.2),) * 3
    assert session.runs_of("load_throughput@1") == (200.0,) * 3
    assert session.runs_of("queue_mean@8") == (20.0,) * 3
    assert session.runs_of("load_p95@3") == ()
    plain = handle.addition()
    plain["load"]["8"]["probe_ms"] = [0.5]
    with pytest.raises(msgspec.ValidationError, match="differ in how many runs"):
        msgspec.convert(plain, Session)


def test_what_is_told_is_plain_and_whole(given):
    handle = Load(given(slower))
    handle.judgements()
    (one, eight) = handle.details()["load"]
    assert (one["clients"], eight["clients"]) == (1, 8)
    assert sum(eight["split_ms"].values()) == pytest.approx(eight["latency_ms"]["mean"])
    assert eight["requests"] == 3000
    assert msgspec.json.decode(msgspec.json.encode(eight)) == eight
    assert handle.figures()["load_p95_ms@8"] == pytest.approx(24.8 * 1.2)
