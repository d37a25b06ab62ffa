"""The lines of what servers withstood: times with their unit, what is known, what failed."""

from __future__ import annotations

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.resilience import lines

CELLS = [Cell("net", f"triton-{name}", "fp32", "cpu-a-2c") for name in ("plain", "other")]


def told(question, faults=(), known=(), deaths=(), **seen):
    return {
        "kind": "resilience",
        "resilience": {
            "question": question,
            "faults": list(faults),
            "known": list(known),
            "deaths": list(deaths),
            "seen": seen,
        },
    }


def test_every_question_has_a_line_below_its_cell():
    ledger = Ledger()
    asked = [
        told("test_a_killed_stub", known=["it stays ready"], recovered_s=1.23456, status_200=40.0),
        told("test_a_full_queue", faults=["none was refused"], answer_ms=4.5),
        told("test_giants", deaths=["it dies of JSON"], depth=5.0),
        told("test_giants", faults=["500"], deaths=["it dies of JSON"], depth=5.0),
    ]
    for number, payload in enumerate(asked):
        where = {"cell": CELLS[0].id, **payload}
        ledger.note(f"test[{number}]", outcome="passed", payload=where)
    ledger.note("other", outcome="passed", payload={"cell": CELLS[1].id, "kind": "load"})
    assert lines(CELLS, ledger) == [
        f"resilience of {CELLS[0]}:",
        "  a killed stub: withstood; recovered 1.23 s, status 200 40",
        "    known: it stays ready",
        "  a full queue: failed; answer 4.5 ms",
        "  giants: known to fail; depth 5",
        "    known: it dies of JSON",
        "  giants: failed; depth 5",
        "    known: it dies of JSON",
    ]
    assert lines(CELLS[1:], ledger) == []
