"""Results to make reports of: drawn from a seed, with everything that a cell may have."""

from __future__ import annotations

import random

import pytest

from pytest_inferbench.report.document import CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import (
    BatchResult,
    IntervalResult,
    JudgementResult,
    LoadPoint,
    PlacementResult,
    RecordedSession,
    RunResult,
)

PRECISIONS = ("fp32", "fp16", "int8")
BACKENDS = ("ort-cpu", "openvino", "ort-cuda", "trt")


@pytest.fixture(scope="session")
def drawn():
    """Return what draws results: `drawn(cells=6, sessions=1, regressed=1)`."""
    return draw


def draw(cells=6, sessions=1, regressed=1, **names):
    chance = random.Random(0)
    made = [
        _cell(
            chance,
            i,
            "regressed" if i % max(1, cells // max(1, regressed)) == 1 else "pass",
            **names,
        )
        for i in range(cells)
    ]
    each = max(1, cells // sessions)
    made = [_replaced(cell, session=min(i // each, sessions - 1)) for i, cell in enumerate(made)]
    return Results(
        inferbench="0.7",
        recorded="2026-11-25T10:00:00Z",
        sessions=tuple(
            SessionResult(id=f"{i:032x}", recorded="2026-11-25T10:00:00Z", name=f"machine-{i}")
            for i in range(sessions)
        ),
        cells=tuple(made),
    )


def _replaced(struct, **changes):
    import msgspec

    return msgspec.structs.replace(struct, **changes)


def _cell(chance, i, verdict, hardware=None, model=None):
    model = model or f"model-{i // 12}"
    backend, precision = BACKENDS[i // 3 % 4], PRECISIONS[i % 3]
    base = 3.0 + 2 * (i // 3 % 4) - (i % 3) * 0.8
    slower = 1.6 if verdict == "regressed" else 1.0

    def times(factor=1.0):
        p5 = base * factor * (1 + chance.random() * 0.05)
        return {"p5": p5, "p50": p5 * 1.1, "p90": p5 * 1.2, "p99": p5 * 1.5, "mean": p5 * 1.12}

    columns = {name: tuple(times()[name] for _ in range(5)) for name in ("p5", "p50", "p99")}
    lost = 0.002 * (i % 3)
    figures = {
        "p50_ms": base * slower * 1.1,
        "p99_ms": base * slower * 1.5,
        "peak_mib": 70.0 + i % 50,
        "map": 0.81 - lost,
        "map_drop": lost,
        "map_drop_low": lost - 0.001,
        "map_drop_high": lost + 0.002,
        "cosine": 0.9999,
    }
    judgements = tuple(
        JudgementResult(
            metric=metric,
            verdict=verdict,
            code="IB-603" if verdict == "regressed" else "IB-600",
            value=base * slower,
            unit="ms",
            budget="+10%",
            baseline=base,
            change=IntervalResult(low=slower - 1.1, value=slower - 1, high=slower - 0.9),
            detail="5 runs against 2 recorded sessions; find the cause",
        )
        for metric in ("p5", "p50")
    )
    return CellResult(
        id=f"{model}-{backend}-{precision}-{i}",
        model=model,
        backend=backend,
        precision=precision,
        hardware=hardware or f"cpu-{i // 1200}",
        verdict=verdict,
        codes=("IB-603",) if verdict == "regressed" else (),
        figures=figures,
        speedup=1.2,
        artifact="ab" * 32,
        ran={"onnxruntime": "1.31.0", "option intra_op_num_threads": "1"},
        tests=(
            TestResult(
                test=f"suites/latency/test_latency.py::test_latency[{i}]",
                outcome="failed" if verdict == "regressed" else "passed",
                reason="it regressed" if verdict == "regressed" else "",
                duration_s=3.0,
                judgements=judgements,
                differs=("options differ: a -> b",) if verdict == "regressed" else (),
            ),
            TestResult(
                test="suites/latency/test_throughput.py::test_throughput",
                outcome="passed",
                reason="",
                duration_s=2.0,
                batches=tuple(
                    BatchResult(batch=b, per_s=300.0 + b, p50_ms=base * b, rates=(300.0,) * 3)
                    for b in (1, 2, 4, 8)
                ),
                load=tuple(
                    LoadPoint(
                        clients=c,
                        runs=3,
                        per_s=100.0 * c**0.5,
                        latency_ms={"p50": base * c, "p95": base * c * 1.5, "p99": base * c * 2},
                    )
                    for c in (1, 4, 16)
                ),
                placement=PlacementResult(nodes={"CPU": 120}, precisions={"fp32": 120}),
            ),
        ),
        runs=tuple(
            RunResult(
                latency_ms=times(slower),
                samples=200,
                peak_mib=70.0,
                watts_over_time=tuple((t / 10, 40 + chance.random()) for t in range(12)),
                set_aside="others used 40% of the CPU" if k == 4 else "",
            )
            for k in range(5)
        ),
        recorded=tuple(
            RecordedSession(recorded=f"2026-11-2{day}T10:00:00Z", latency_ms=columns)
            for day in (1, 3)
        ),
    )
