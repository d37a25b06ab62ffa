"""The lines that tell inferences a second by batch size: takes cells and the ledger. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.report.table import Named


def lines(cells: Sequence[Named], ledger: Ledger) -> list[str]:
    """Return a line for every cell whose batch sizes were swept, in the matrix's order."""
    by_cell = ledger.by_cell()
    said = []
    for cell in cells:
        for entry in by_cell.get(cell.id, ()):
            rates = [_rate(each) for each in entry.payload.get("batches", ())]
            if rates:
                said.append(f"throughput of {cell}: {', '.join(rates)}")
    return said


def _rate(batch: dict[str, float]) -> str:
    per_s = batch["per_s"]
    shown = f"{per_s:.0f}" if per_s >= 100 else f"{per_s:.3g}"
    return f"{shown} /s at batch {batch['batch']} (p50 {batch['p50_ms']:.3f} ms)"
