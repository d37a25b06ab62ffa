"""A line a cell of what each batch size gives."""

from __future__ import annotations

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.rates import lines


def batch(size, per_s, p50_ms):
    return {"batch": size, "per_s": per_s, "p50_ms": p50_ms, "samples": 10}


def test_cells_that_were_swept_have_a_line_in_the_matrix_order():
    cells = [Cell("net", backend, "fp32", "cpu-x") for backend in ("ort-cpu", "openvino", "torch")]
    ledger = Ledger()
    for cell, batches in ((cells[1], [batch(1, 987.6, 1.0125)]), (cells[0], None)):
        payload = {"cell": cell.id, **({"batches": batches} if batches else {})}
        ledger.note(cell.id, outcome="passed", payload=payload)
    two = {"cell": cells[2].id, "batches": [batch(1, 9.876, 101.25), batch(2, 12.0, 166.7)]}
    ledger.note("t", outcome="skipped", payload=two)
    assert lines(cells, ledger) == [
        "throughput of net on openvino at fp32 (cpu-x): 988 /s at batch 1 (p50 1.012 ms)",
        "throughput of net on torch at fp32 (cpu-x):"
        " 9.88 /s at batch 1 (p50 101.250 ms), 12 /s at batch 2 (p50 166.700 ms)",
    ]
