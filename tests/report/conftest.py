"""What tests of the report share: results documents made in a line."""

from __future__ import annotations

import pytest

from pytest_inferbench.report.document import CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import IntervalResult, JudgementResult

_OUTCOMES = {"pass": "passed", "improved": "passed", "regressed": "failed", "failed": "failed"}


def _cell(model, verdict="pass", *, hardware="cpu-a-2c", session=0, reason="", **more):
    """A cell on ort-cpu at int8 with one test, judged by p50 unless it cannot run or is broken."""
    change = IntervalResult(low=0.4, value=0.5, high=0.6)
    judged = JudgementResult(
        metric="p50", verdict=verdict, code="IB-603", value=1.5, unit="ms", budget="+25%",
        baseline=1.0, change=change, smallest_visible=0.3, detail="a detail; another",
    )  # fmt: skip
    test = TestResult(
        test=f"latency/test_latency.py::test_latency[{model}]",
        outcome=_OUTCOMES.get(verdict, "skipped"),
        reason=reason or f"{model}: p50 {verdict}",
        duration_s=1.0,
        kind="latency",
        judgements=() if verdict in ("failed", "cannot run", "skipped") else (judged,),
        figures={"p50_ms": 1.5},
        context={"what to do": "find the cause"} if verdict == "regressed" else {},
    )
    fields = {
        "id": f"{model}-ort-cpu-int8-{hardware}",
        "model": model,
        "backend": "ort-cpu",
        "precision": "int8",
        "hardware": hardware,
        "session": session,
        "verdict": verdict,
        "codes": ("IB-603",),
        "figures": {"p50_ms": 1.5, "peak_mib": 70.0},
        "cannot_run": reason if verdict == "cannot run" else None,
        "tests": (test,),
        **more,
    }
    return CellResult(**fields)


def _document(*cells, session="s", recorded="2026-01-01T00:00:00Z", notices=(), **more):
    """A document of one session."""
    one = SessionResult(id=session, recorded=recorded, host={"cpu": "cpu-a-2c"}, **more)
    return Results(inferbench="1", recorded=recorded, sessions=(one,), cells=cells, notices=notices)


@pytest.fixture(scope="session")
def cell():
    """The function that makes a cell."""
    return _cell


@pytest.fixture(scope="session")
def document():
    """The function that makes a document of one session."""
    return _document
