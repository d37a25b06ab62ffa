"""Which results of a gate may become a recorded session, and why others may not."""

from __future__ import annotations

import msgspec
import pytest

from pytest_inferbench.baselines.taking import NotTakenError, differs_from_baseline, session_from
from pytest_inferbench.report.document import CellResult, SessionResult, TestResult
from pytest_inferbench.report.parts import JudgementResult, RunResult

STATISTICS = ("p5", "p50", "p90", "p99", "mean")


def a_run(factor=1.0, **fields):
    told = {
        "latency_ms": {name: factor * (i + 1) for i, name in enumerate(STATISTICS)},
        "samples": 100,
        "probe_ms": 0.5,
        "cold_start_ms": 90.0,
        "stages_ms": {"open": 80.0, "first_inference": 10.0},
        "peak_mib": 70.0,
    }
    return RunResult(**{**told, **fields})


def judged(verdict, metric="p50"):
    return JudgementResult(metric=metric, verdict=verdict, code="IB-603", value=1.0)


def a_test(kind="latency", outcome="failed", verdict="regressed", **fields):
    judgements = (judged(verdict),) if verdict else ()
    return TestResult(
        test=f"suites/test_x.py::test_{kind}[net]",
        outcome=outcome,
        reason="why",
        duration_s=1.0,
        kind=kind,
        judgements=judgements,
        **fields,
    )


RIGHT = a_test("similarity", "passed", "pass", figures={"cosine": 0.9999, "odd": float("nan")})


def a_cell(**fields):
    told = {
        "id": "net-ort-cpu-int8-cpu-x",
        "model": "net",
        "backend": "ort-cpu",
        "precision": "int8",
        "hardware": "cpu-x",
        "artifact": "a" * 64,
        "ran": {"onnxruntime": "1.32.0"},
        "tests": (RIGHT, a_test()),
        "runs": (a_run(), a_run(1.1), a_run(9.0, set_aside="noise"), a_run(0.9)),
    }
    return CellResult(**{**told, **fields})


SESSION = SessionResult(id="s", recorded="2026-11-25T17:00:00Z")


def test_a_session_that_failed_its_budget_is_taken_whole():
    found = session_from(a_cell(), SESSION, "new driver")
    assert (found.recorded, found.reason) == ("2026-11-25T17:00:00Z", "new driver")
    assert found.latency_ms["p50"] == (2.0, 2.2, 1.8)  # what was set aside is not in it
    assert found.probe_ms == (0.5,) * 3
    assert found.memory_mib == {"peak": (70.0,) * 3}
    assert found.cold_start_ms["total"] == (90.0,) * 3
    assert found.energy == {}
    assert found.scores == {"cosine": 0.9999}
    assert found.environment == {"onnxruntime": "1.32.0"}


def test_what_only_some_runs_tell_is_left_out():
    told = a_cell(runs=(a_run(watts=9.0), a_run(watts=9.5), a_run()))
    assert session_from(told, SESSION, "x").energy == {}
    told = a_cell(runs=tuple(a_run(watts=9.0, joules=0.1, device_mib=5.0) for _ in range(3)))
    found = session_from(told, SESSION, "x")
    assert set(found.energy) == {"watts", "joules"}
    assert found.memory_mib["device"] == (5.0,) * 3


@pytest.mark.parametrize(
    ("fields", "of", "why"),
    [
        ({"runs": (a_run(), a_run())}, {}, "3 runs that count are needed, and it has 2"),
        ({"runs": (a_run(), a_run(), a_run(set_aside="noise"))}, {}, "it has 2"),
        ({"runs": ()}, {}, "was not timed by itself"),
        ({"runs": (), "tests": (a_test("load"),)}, {}, "load is recorded with --update-baselines"),
        ({"cannot_run": "no GPU"}, {}, "no GPU"),
        ({"tests": (a_test(),)}, {}, "run the gate with `accuracy` too"),
        ({"tests": (a_test("similarity"), a_test())}, {}, "test_similarity"),
        ({"tests": (RIGHT, a_test("conformance", verdict=""))}, {}, "test_conformance"),
        ({"tests": (RIGHT, a_test("latency", verdict=""))}, {}, "test_latency"),  # it crashed
        ({"artifact": ""}, {}, "artifact"),
        ({"model": "../net"}, {}, "no part of a cell's name"),
        ({"hardware": ".."}, {}, "no part of a cell's name"),
        ({"runs": (a_run(probe_ms=None),) * 3}, {}, "lack a figure"),
        ({"runs": (a_run(latency_ms={"p50": 1.0}),) * 3}, {}, "lack a figure"),
        ({"runs": (a_run(-1.0),) * 3}, {}, "no session's"),
        ({"runs": (a_run(float("nan")),) * 3}, {}, "no session's"),
        ({}, {"recorded": "yesterday"}, "recorded must be ISO 8601"),
        ({}, {"options": {"update": "add"}}, "recorded its baselines itself"),
        ({}, {"options": {"in_process": "True"}}, "no baseline"),
    ],
)
def test_what_is_no_full_valid_session_of_right_outputs_is_refused(fields, of, why):
    session = msgspec.structs.replace(SESSION, **of)
    with pytest.raises(NotTakenError) as error:
        session_from(a_cell(**fields), session, "x")
    assert why in str(error.value)


@pytest.mark.parametrize("verdict", ["regressed", "missing", "inconclusive", "improved"])
def test_what_did_not_simply_pass_differs_from_its_baseline(verdict):
    assert differs_from_baseline(a_cell(tests=(RIGHT, a_test(verdict=verdict))))


def test_what_passed_or_was_only_right_does_not():
    assert not differs_from_baseline(a_cell(tests=(RIGHT, a_test(verdict="pass"))))
    assert not differs_from_baseline(a_cell(tests=(a_test("similarity"),)))
