"""What is drawn of a cell: takes a `CellResult`, gives rows, bars and limits of drawings. Pure.

Which of its figures is its accuracy, what a budget means as a number, and which runs stand behind a
judged metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pytest_inferbench.launches import STATISTICS
from pytest_inferbench.report.document import CellResult
from pytest_inferbench.report.html.charts import Bar, Row
from pytest_inferbench.report.parts import (
    IntervalResult,
    JudgementResult,
    RecordedLoad,
    RecordedSession,
    RunResult,
)
from pytest_inferbench.report.scores import SCORES
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.units import QUANTITY, UNITS

LOSSES = ("map_drop", "map50_drop", "top1_drop", "top5_drop", "miou_drop", "wer_rise")
"""What a cell lost against the reference, the first that it has."""

MOST_SESSIONS = 8
"""Recorded sessions that a drawing has room for: the newest."""

_MEMORY = {"memory": ("peak_mib", "peak"), "device_memory": ("device_mib", "device")}
_ENERGY = {"power": "watts", "energy": "joules"}
_TITLES = {
    "p5": "Latency, 5th percentile",
    "p50": "Latency, median",
    "p90": "Latency, 90th percentile",
    "p99": "Latency, 99th percentile",
    "mean": "Latency, mean",
    "memory": "Peak memory",
    "device_memory": "Peak memory on the device",
    "cold_start": "Cold start",
    "power": "Power",
    "energy": "Energy an inference",
    "throughput": "Throughput",
}


def score_of(cells: Sequence[CellResult]) -> str:
    """Return the name of the accuracy figure that most of some cells have; empty for none."""
    counts = {name: sum(_has(cell, name) for cell in cells) for name in SCORES}
    best = max(counts.values(), default=0)
    return next((name for name, count in counts.items() if count == best and count), "")


def is_better_higher(score: str) -> bool:
    """Whether more of an accuracy figure is better."""
    metric = METRICS.get(score)
    return metric is None or metric.better == "higher"


def main_change(cell: CellResult) -> JudgementResult | None:
    """Return the change that speaks for a cell: a regressed one, else p5, p50 or any other."""
    changed = [j for j in cell.judgements if j.change is not None]
    order = {"p5": 0, "p50": 1}
    return min(
        changed,
        key=lambda j: (j.verdict != "regressed", order.get(j.metric, 2)),
        default=None,
    )


def relative_limit(judged: JudgementResult) -> float | None:
    """Return the budget as a fraction, 0.05 for "+5%"; None where it is none."""
    found = QUANTITY.fullmatch(judged.budget.strip())
    if found is None or found["unit"] != "%":
        return None
    return float(found["sign"] + found["number"]) / 100


def limit_of(judged: JudgementResult) -> float | None:
    """Return the budget as a figure in the judgement's unit; None where that cannot be said."""
    relative = relative_limit(judged)
    if relative is not None:
        return None if judged.baseline is None else judged.baseline * (1 + relative)
    found = QUANTITY.fullmatch(judged.budget.strip())
    if found is None:
        return None
    factor = UNITS.get(judged.unit, {}).get(found["unit"], 1.0)
    return float(found["sign"] + found["number"]) * factor


def bar_of(judged: JudgementResult, change: IntervalResult) -> Bar:
    """Return a change with its limit, as fractions."""
    kind = judged.verdict if judged.verdict in ("regressed", "inconclusive") else "now"
    limit = relative_limit(judged)
    return Bar(judged.metric, change.low, change.value, change.high, limit, kind)


def loss_bars(cell: CellResult) -> list[Bar]:
    """Return what a cell lost against the reference, with intervals and limits."""
    limits = {j.metric: limit_of(j) for j in cell.judgements}
    verdicts = {j.metric: j.verdict for j in cell.judgements}
    bars = []
    for name, value in cell.figures.items():
        if name not in LOSSES:
            continue
        bounds = cell.intervals.get(name)
        low, high = (bounds.low, bounds.high) if bounds else (math.nan, math.nan)
        kind = "regressed" if verdicts.get(name) == "regressed" else "now"
        bars.append(Bar(name, low, value, high, limits.get(name), kind))
    return bars


def title_of(metric: str) -> str:
    """Return what a metric is called above a drawing."""
    name, _, clients = metric.partition("@")
    if clients:
        of = METRICS.get(name)
        what = of.meaning if of else name
        return f"{what[:1].upper()}{what[1:]}, {clients} clients"
    return _TITLES.get(name, name)


def rows_of(cell: CellResult, metric: str, speed_of: Callable[[str], str]) -> list[Row]:
    """Return the runs behind a metric: this session's, then those of recorded ones, newest first.

    Args:
        cell: The cell.
        metric: As budgets name it.
        speed_of: What to call a recorded session, by when it was.
    """
    name, _, clients = metric.partition("@")
    rows = [_now(cell, name, clients)]
    newest = sorted(cell.recorded, key=lambda session: session.recorded, reverse=True)
    for session in newest[:MOST_SESSIONS]:
        values = _recorded(cell, session, name, clients)
        if values:
            rows.append(Row(speed_of(session.recorded), values))
    return [row for row in rows if row.values or row.aside]


def _now(cell: CellResult, name: str, clients: str) -> Row:
    if clients:
        point = next((p for p in cell.load if str(p.clients) == clients), None)
        return Row(
            "this session", point.by_run.get(_under_load(name), ()) if point else (), now=True
        )
    if name == "throughput":
        best = max(cell.batches, key=lambda batch: _ordered(batch.per_s), default=None)
        return Row("this session", best.rates if best else (), now=True)
    told = [(run.counts, _of_run(name, run)) for run in cell.runs]
    return Row(
        "this session",
        tuple(value for counts, value in told if counts and value is not None),
        tuple(value for counts, value in told if not counts and value is not None),
        now=True,
    )


def _of_run(name: str, run: RunResult) -> float | None:
    if name in STATISTICS:
        return run.latency_ms.get(name)
    attribute = {
        **{key: pair[0] for key, pair in _MEMORY.items()},
        **_ENERGY,
        "cold_start": "cold_start_ms",
        "memory_growth": "growth_mib",
        "device_memory_growth": "device_growth_mib",
    }.get(name)
    value: float | None = getattr(run, attribute) if attribute else None
    return value


def _recorded(
    cell: CellResult, session: RecordedSession, name: str, clients: str
) -> tuple[float, ...]:
    if clients:
        return _recorded_load(session.load.get(clients, RecordedLoad()), _under_load(name))
    if name == "throughput":
        best = max(cell.batches, key=lambda batch: _ordered(batch.per_s), default=None)
        return session.throughput_per_s.get(str(best.batch), ()) if best else ()
    table, column = {
        **{key: (session.memory_mib, pair[1]) for key, pair in _MEMORY.items()},
        **{key: (session.energy, column) for key, column in _ENERGY.items()},
        "cold_start": (session.cold_start_ms, "total"),
    }.get(name, (session.latency_ms, name))
    return table.get(column, ())


def _recorded_load(load: RecordedLoad, key: str) -> tuple[float, ...]:
    if key == "per_s":
        return load.per_s
    if key.startswith("queue_"):
        return load.queue_ms.get(key.removeprefix("queue_"), ())
    return load.latency_ms.get(key, ())


def _under_load(name: str) -> str:
    return {"load_throughput": "per_s", "load_failures": "failures"}.get(
        name, name.removeprefix("load_")
    )


def _has(cell: CellResult, name: str) -> bool:
    return math.isfinite(cell.figures.get(name, math.nan))


def _ordered(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
