"""The study of serving: takes cells, the ledger and objectives, gives a row a variant. Pure.

Variants of one model at one precision stand together, at one number of clients; what each gains is
beside the first of them. Objectives say which will do, and of those the one with the most answers a
second is the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.messages import figure, percent
from pytest_inferbench.report.table import Named
from pytest_inferbench.serving.decision import Ladder, decide, ladder_of
from pytest_inferbench.serving.split import PARTS
from pytest_inferbench.settings.budgets import Budget

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

LATENCIES = ("mean", "p50", "p90", "p95", "p99", "sd")
_SYMBOLS = dict(zip(PARTS, "nqi#o.", strict=True))
_BAR = 48
_NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """One variant under load; one that was not measured has neither figures nor a split.

    Attributes:
        figures: By the names that objectives have, and `sd`.
        split_ms: Each part of a request's mean time.
        gain: By how much more it gets through than the first of all; None for the first itself, and
            where that was not measured.
        missed: The objectives that it misses, each as a sentence.
        is_best: Whether it is the best of those that miss none.
        decision: What the settings' ladder says of it; empty where there is none.
    """

    cell: Named
    figures: Mapping[str, float]
    split_ms: Mapping[str, float]
    told: Mapping[str, Any]
    gain: float | None = None
    missed: tuple[str, ...] = ()
    is_best: bool = False
    decision: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether it has figures."""
        return bool(self.told)


@dataclass(frozen=True)
class Study:
    """The variants of a model at a precision, under one number of clients."""

    model: str
    precision: str
    clients: int
    rows: tuple[Row, ...]
    objectives: Mapping[str, Budget] = field(default_factory=dict)


def of_gate(gate: Gate) -> list[Study]:
    """Return the studies of a session, with the settings' objectives and ladder."""
    serving = gate.settings.serving
    ladder = ladder_of(serving.decisions, serving.otherwise) if serving.decisions else None
    served = [cell for cell in gate.cells if gate.catalog[cell.backend].served]
    return studies(served, gate.ledger, serving.objectives, ladder)


def studies(
    cells: Sequence[Cell],
    ledger: Ledger,
    objectives: Mapping[str, Budget],
    ladder: Ladder | None = None,
) -> list[Study]:
    """Return what was measured under load, in the matrix's order.

    Args:
        cells: The variants.
        ledger: What became of their tests. Whoever had any has a row, measured or not.
        objectives: What a variant must reach.
        ladder: What is said of it by its objectives.
    """
    by_cell = ledger.by_cell()
    asked = [cell for cell in cells if by_cell.get(cell.id)]
    loads = {
        (cell.id, told["clients"]): told
        for cell in asked
        for entry in by_cell[cell.id]
        for told in entry.payload.get("load", ())
    }
    keys = {
        (cell.model, cell.precision, clients)
        for cell in asked
        for cell_id, clients in loads
        if cell_id == cell.id
    }
    found = []
    for model, precision, clients in sorted(keys, key=lambda key: _place(key, cells)):
        variants = [
            (cell, loads.get((cell.id, clients), {}))
            for cell in asked
            if (cell.model, cell.precision) == (model, precision)
        ]
        rows = _rows(variants, objectives, ladder)
        found.append(Study(model, precision, clients, rows, objectives))
    return found


def _place(key: tuple[str, str, int], cells: Sequence[Cell]) -> tuple[int, int]:
    model, precision, clients = key
    order = [(cell.model, cell.precision) for cell in cells]
    return order.index((model, precision)), clients


def _rows(
    variants: Sequence[tuple[Cell, Mapping[str, Any]]],
    objectives: Mapping[str, Budget],
    ladder: Ladder | None = None,
) -> tuple[Row, ...]:
    first_per_s = variants[0][1].get("per_s")
    rows = []
    for index, (cell, told) in enumerate(variants):
        if not told:
            rows.append(Row(cell, {}, {}, told))
            continue
        figures = figures_of(told)
        rows.append(
            Row(
                cell,
                figures,
                told["split_ms"],
                told,
                gain=told["per_s"] / first_per_s - 1 if index and first_per_s else None,
                missed=missed(figures, objectives),
                decision=str(decide(ladder, told.get("by_run", {}))) if ladder else "",
            )
        )
    able = [row for row in rows if row.is_measured and not row.missed]
    best = max(able, key=lambda row: row.figures["per_s"]) if able and objectives else None
    return tuple(Row(**{**vars(row), "is_best": True}) if row is best else row for row in rows)


def figures_of(told: Mapping[str, Any]) -> dict[str, float]:
    """Return what objectives and columns are about, of one number of clients."""
    failed = sum(told["failures"].values())
    return {
        "per_s": told["per_s"],
        **told["latency_ms"],
        **{f"queue_{name}": value for name, value in told["queue_ms"].items()},
        "failures": failed / told["requests"] if told["requests"] else 0.0,
    }


def missed(figures: Mapping[str, float], objectives: Mapping[str, Budget]) -> tuple[str, ...]:
    """Return which objectives are missed, each with the figure; what is not known is missed.

    Requests that failed speak against a variant, unless an objective allows them.
    """
    said = []
    for name, objective in objectives.items():
        value = figures.get(name, math.nan)
        if not objective.holds(value):
            said.append(f"{name} {figure(value, objective.unit)}, not {objective.text}")
    if figures.get("failures", 0.0) > 0 and "failures" not in objectives:
        said.append(f"{figures['failures']:.2%} of requests failed")
    return tuple(said)


def lines(study: Study) -> Iterator[str]:
    """Yield the table of a study and its picture, line by line."""
    clients = "1 client" if study.clients == 1 else f"{study.clients} clients"
    yield f"serving {study.model} at {study.precision}, {clients}:"
    header = ["variant", "per s", *(f"{name} ms" for name in LATENCIES), "gain"]
    header += ["objectives"] if study.objectives else []
    header += ["decision"] if any(row.decision for row in study.rows) else []
    table = [header, *(_cells(row, study) for row in study.rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    for row in table:
        padded = [
            text.ljust(width) if i in (0, len(LATENCIES) + 3) else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(padded).rstrip()
    yield from picture(study)
    for each in study.rows:
        if each.told.get("strangers"):
            yield f"  {each.cell.backend}: {each.told['strangers']}"


def _cells(row: Row, study: Study) -> list[str]:
    if not row.is_measured:
        more = bool(study.objectives) + any(each.decision for each in study.rows)
        return [row.cell.backend, _NOT_MEASURED, *[""] * (len(LATENCIES) + 1 + more)]
    cells = [row.cell.backend, f"{row.figures['per_s']:.4g}"]
    cells += [f"{row.figures.get(name, math.nan):.3f}" for name in LATENCIES]
    cells.append("" if row.gain is None else percent(row.gain))
    if study.objectives:
        verdict = "; ".join(row.missed) if row.missed else "met"
        cells.append("met, the best" if row.is_best else verdict)
    if any(each.decision for each in study.rows):
        cells.append(row.decision)
    return cells


def picture(study: Study) -> Iterator[str]:
    """Yield where the mean time of a request went, a bar a variant, to one scale."""
    longest = max((sum(row.split_ms.values()) for row in study.rows), default=0.0)
    if not longest:
        return
    legend = ", ".join(f"{_SYMBOLS[part]} {part}" for part in PARTS)
    yield f"  where the mean time went ({legend}):"
    width = max(len(row.cell.backend) for row in study.rows)
    for row in filter(lambda row: row.is_measured, study.rows):
        drawn = bar(row.split_ms, longest).ljust(_BAR)
        parts = " + ".join(
            f"{part} {row.split_ms[part]:.3f}" for part in PARTS if row.split_ms.get(part, 0) > 0
        )
        yield f"  {row.cell.backend.ljust(width)}  {drawn}  {parts} ms"


def bar(split_ms: Mapping[str, float], longest_ms: float, width: int = _BAR) -> str:
    """Return the parts of a time as a bar, `width` characters for the longest time.

    Its length is right to a character, and no part is off by as much as one.
    """
    drawn, so_far_ms = "", 0.0
    for part in PARTS:
        so_far_ms += split_ms.get(part, 0.0)
        drawn += _SYMBOLS[part] * (round(width * so_far_ms / longest_ms) - len(drawn))
    return drawn


def plain(study: Study) -> dict[str, Any]:
    """Return a study as plain types."""
    return {
        "model": study.model,
        "precision": study.precision,
        "clients": study.clients,
        "objectives": {name: each.text for name, each in study.objectives.items()},
        "variants": [
            {
                "cell": row.cell.id,
                "backend": row.cell.backend,
                "measured": row.is_measured,
                **row.told,
                "gain": row.gain,
                "missed": list(row.missed),
                "best": row.is_best,
                "decision": row.decision or None,
            }
            for row in study.rows
        ],
    }
