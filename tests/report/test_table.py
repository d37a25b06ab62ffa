"""Rows and the last line: the worst of a cell's tests speaks for it, and nothing is lost."""

from __future__ import annotations

import pytest

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.table import Row, fitting, rows, speedups
from pytest_inferbench.report.terminal import last_line

FP32, INT8 = (Cell("net", "ort-cpu", precision, "cpu-test-2c") for precision in ("fp32", "int8"))


def noted(*tests):
    """A ledger of one cell from (outcome, verdict, code, figures)."""
    ledger = Ledger()
    for number, (outcome, verdict, code, figures) in enumerate(tests):
        judgements = [{"verdict": verdict, "code": code}] if verdict else []
        payload = {"cell": FP32.id, "judgements": judgements, "figures": figures}
        ledger.note(f"t{number}", outcome=outcome, payload=payload)
    return ledger


def only_row(*tests):
    (row,) = rows([FP32, INT8], noted(*tests))
    return row


def test_the_worst_verdict_speaks_and_figures_come_together():
    row = only_row(
        ("passed", "pass", "IB-600", {"cosine": 1.0}),
        ("skipped", "missing", "IB-701", {"p50_ms": 2.0}),
        ("failed", "regressed", "IB-601", {}),
    )
    assert (row.verdict, row.codes) == ("regressed", ("IB-701", "IB-601"))
    assert row.figures == {"cosine": 1.0, "p50_ms": 2.0}


@pytest.mark.parametrize(
    ("tests", "verdict"),
    [
        ([("failed", None, None, {}), ("passed", "pass", "IB-600", {})], "failed"),
        ([("passed", None, None, {})], "pass"),
        ([("skipped", None, None, {})], "skipped"),
        ([("passed", "improved", "IB-600", {}), ("passed", "pass", "IB-600", {})], "pass"),
    ],
)
def test_tests_without_a_judgement_count_as_what_they_are(tests, verdict):
    assert only_row(*tests).verdict == verdict


def test_a_cell_that_did_not_run_or_cannot_has_no_row():
    ledger = noted(("passed", None, None, {}))
    assert [row.cell for row in rows([FP32, INT8], ledger)] == [FP32]
    gone = Cell("net", "ort-cpu", "fp32", "cpu-test-2c", cannot_run="not installed")
    assert rows([gone], ledger) == []


def test_speed_up_is_against_the_slowest_fp32_of_the_same_model_and_hardware():
    other = Cell("other", "ort-cpu", "int8", "cpu-test-2c")
    table = [
        Row(FP32, {"p50_ms": 6.0}),
        Row(INT8, {"p50_ms": 2.0}),
        Row(other, {"p50_ms": 1.0}),
    ]
    assert speedups(table) == {FP32.id: 1.0, INT8.id: 3.0}


def test_the_last_line_counts_cells_and_figures_apart():
    table = [Row(FP32, verdict="pass"), Row(INT8, verdict="missing")]
    assert last_line(table[:1], {}) == "inferbench: 1 cell: 1 pass"
    assert last_line(table, {"missing IB-701": 4}) == (
        "inferbench: 2 cells: 1 missing, 1 pass; figures without a verdict: 4 missing IB-701"
    )


def test_of_very_many_rows_those_that_pass_make_room():
    passing = [Row(FP32, verdict="pass") for _ in range(300)]
    table = [*passing, Row(INT8, verdict="regressed"), *passing]
    shown, left_out = fitting(table, most=200)
    assert len(shown) == 200
    assert [row.verdict for row in shown].count("regressed") == 1
    assert shown[-1].verdict == "regressed", "the order is kept"
    assert left_out == "not shown: 401 cells that pass; --inferbench-json has them all"
    assert fitting(table[:200], most=200) == (table[:200], "")
    _, also = fitting([Row(INT8, verdict="failed")] * 3, most=2)
    assert also == "not shown: 0 cells that pass and 1 that do not; --inferbench-json has them all"
