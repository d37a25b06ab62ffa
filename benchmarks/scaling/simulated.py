"""SIMULATED machines: results and baselines that no device ever gave, as large as real ones are.

Takes a count of machines and cells; gives results documents and baseline files with figures drawn
from a seed. Their hardware is called `simulated-...`, so that none is taken for a measurement.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from pytest_inferbench.baselines.schema import BaselineFile, CellSessions, Session
from pytest_inferbench.baselines.store import BaselineStore
from pytest_inferbench.report.document import CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import (
    IntervalResult,
    JudgementResult,
    RecordedSession,
    RunResult,
)

STATISTICS = ("p5", "p50", "p90", "p99", "mean")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
BACKENDS = ("ort-cpu", "ort-cuda", "ort-trt", "trt", "openvino")
RUNS = 5
RECORDED = 5
"""Recorded sessions that a result carries of each cell."""


def hardware_of(machine: int) -> str:
    """Return the id of a machine's hardware; every second machine is of a class of its own."""
    return f"simulated-{machine:03d}"


def results(machine: int, cells: int) -> Results:
    """Return what one simulated machine's session would have written."""
    draw = random.Random(machine)
    ended = f"2026-01-{1 + machine % 28:02d}T{machine // 28 % 24:02d}:00:00Z"
    hardware = hardware_of(machine)
    host = {"python": "3.11.0", "cpu": hardware, "gpus": [], "governor": "performance"}
    session = SessionResult(
        id=hashlib.sha256(hardware.encode()).hexdigest()[:16], recorded=ended, host=host
    )
    made = tuple(_cell(draw, hardware, number) for number in range(cells))
    return Results(inferbench="0", recorded=ended, sessions=(session,), cells=made)


def _cell(draw: random.Random, hardware: str, number: int) -> CellResult:
    backend = BACKENDS[number % len(BACKENDS)]
    precision = PRECISIONS[number // len(BACKENDS) % len(PRECISIONS)]
    model = f"model-{number // (len(BACKENDS) * len(PRECISIONS)):02d}"
    cell = f"{model}-{backend}-{precision}-{hardware}"
    base_ms = draw.uniform(1, 20)
    runs = tuple(_run(draw, base_ms) for _ in range(RUNS))
    verdict = draw.choices(("pass", "regressed", "inconclusive"), (96, 2, 2))[0]
    change = draw.gauss(0.2 if verdict == "regressed" else 0.0, 0.02)
    code = {"pass": "IB-600", "regressed": "IB-603", "inconclusive": "IB-610"}[verdict]
    judged = JudgementResult(
        metric="p5",
        verdict=verdict,
        code=code,
        value=runs[0].latency_ms["p5"],
        unit="ms",
        budget="+10%",
        baseline=base_ms,
        change=IntervalResult(low=change - 0.02, value=change, high=change + 0.02),
        detail=f"{RUNS} runs against {RECORDED} recorded sessions",
    )
    right = JudgementResult(
        metric="cosine", verdict="pass", code="IB-600", value=0.9999, budget="0.99"
    )
    figures = {"p50_ms": base_ms * 1.1, "p99_ms": base_ms * 1.5, "peak_mib": 80.0}
    outcome = {"pass": "passed", "regressed": "failed", "inconclusive": "skipped"}[verdict]
    reason = "" if verdict == "pass" else f"[{code}] p5 {verdict}: {change:+.1%}, budget +10%"
    tests = (
        TestResult(
            test=f"suites/accuracy/test_similarity.py::test_similarity[{cell}]",
            outcome="passed",
            reason="",
            duration_s=0.1,
            kind="similarity",
            judgements=(right,),
            figures={"cosine": 0.9999, "max_error": 0.001},
        ),
        TestResult(
            test=f"suites/latency/test_latency.py::test_latency[{cell}]",
            outcome=outcome,
            reason=reason,
            duration_s=20.0,
            kind="latency",
            judgements=(judged,),
            figures=figures,
        ),
    )
    return CellResult(
        id=cell,
        model=model,
        backend=backend,
        precision=precision,
        hardware=hardware,
        verdict=verdict,
        codes=() if verdict == "pass" else (code,),
        figures={**figures, "cosine": 0.9999},
        artifact=hashlib.sha256(cell.encode()).hexdigest(),
        tests=tests,
        runs=runs,
        recorded=tuple(_recorded(draw, base_ms, day) for day in range(RECORDED)),
    )


def _run(draw: random.Random, base_ms: float) -> RunResult:
    return RunResult(
        latency_ms={name: _near(draw, base_ms) for name in STATISTICS},
        samples=1000,
        probe_ms=_near(draw, 1.0),
        cold_start_ms=_near(draw, 100.0),
        peak_mib=_near(draw, 80.0),
    )


def _recorded(draw: random.Random, base_ms: float, day: int) -> RecordedSession:
    return RecordedSession(
        recorded=_day(day),
        latency_ms={name: _column(draw, base_ms) for name in STATISTICS},
        probe_ms=_column(draw, 1.0),
        memory_mib={"peak": _column(draw, 80.0)},
        cold_start_ms={"total": _column(draw, 100.0)},
    )


def sessions(draw: random.Random, count: int) -> tuple[Session, ...]:
    """Return recorded sessions of one cell, oldest first."""
    base_ms = draw.uniform(1, 20)
    return tuple(
        Session(
            recorded=_day(day),
            artifact=hashlib.sha256(str(base_ms).encode()).hexdigest(),
            environment={"onnxruntime": "1.31.0", "numpy": "2.3.0", "governor": "performance"},
            latency_ms={name: _column(draw, base_ms) for name in STATISTICS},
            samples=(1000,) * RUNS,
            probe_ms=_column(draw, 1.0),
            memory_mib={"peak": _column(draw, 80.0)},
            cold_start_ms={"total": _column(draw, 100.0)},
        )
        for day in range(count)
    )


def write_baselines(folder: Path, machines: int, cells: int, count: int) -> None:
    """Write a folder of baselines: a hardware a machine, two models of half its cells each."""
    store = BaselineStore(folder)
    for machine in range(machines):
        draw = random.Random(machine)
        for model, keys in models_of(cells):
            held = {key: CellSessions(sessions=sessions(draw, count)) for key in keys}
            store.write(BaselineFile(hardware=hardware_of(machine), model=model, cells=held))


def models_of(cells: int) -> Iterator[tuple[str, list[str]]]:
    """Yield models with the keys of their cells, 25 a model."""
    keys = [f"{backend} {precision}" for backend in BACKENDS for precision in PRECISIONS]
    for number in range(-(-cells // len(keys))):
        yield f"model-{number:02d}", keys[: cells - number * len(keys)]


def _near(draw: random.Random, value: float) -> float:
    return float(f"{value * draw.uniform(0.98, 1.02):.7g}")


def _column(draw: random.Random, value: float) -> tuple[float, ...]:
    return tuple(_near(draw, value) for _ in range(RUNS))


def _day(day: int) -> str:
    return f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T00:00:00Z"
