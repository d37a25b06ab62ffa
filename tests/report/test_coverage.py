"""How ONNX's cases are counted: every outcome, of every cell, hidden by none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.onnx_cases.outcomes import Kind, Verdict
from pytest_inferbench.report.coverage import coverage, markdown, plain, summary, worst_ops

CASES = st.lists(
    st.tuples(
        st.sampled_from(["Abs", "Add", "Conv"]),
        st.sampled_from([6, 13]),
        st.sampled_from(Kind),
        st.sampled_from(Verdict),
        st.sampled_from(["", "IR 14 lowered to 13"]),
    ),
    min_size=1,
)


def covered(cases, broken=0):
    ledger = Ledger()
    for i, (op, opset, kind, verdict, note) in enumerate(cases):
        case = {
            "name": f"test_{i}",
            "op": op,
            "opset": opset,
            "outcome": kind.value,
            "verdict": verdict.value,
            "note": note,
            "version": "rt 1.0",
            "onnx": "1.23.2",
        }
        ledger.note(f"n{i}", outcome="passed", payload={"cell": "c", "onnx_case": case})
    for i in range(broken):
        ledger.note(f"b{i}", outcome="failed", payload={"cell": "c"})
    ledger.note("other", outcome="failed", payload={"cell": "another"})
    return coverage(ledger.ours, ["c", "idle"])


@given(CASES, st.integers(0, 3))
def test_no_case_is_lost_or_counted_twice(cases, broken):
    (found,) = covered(cases, broken)
    assert found.total == len(cases) + broken
    assert sum(plain(found)["outcomes"].values()) == found.total
    by_op = sum(sum(outcomes.values()) for outcomes in found.ops.values())
    assert by_op == len(cases)
    counts = summary(found)[0]
    for kind in Kind:
        count = sum(case[2] is kind for case in cases)
        assert (f"{count} {kind.value}" in counts) or count == 0
    assert (f"{broken} not run" in counts) == bool(broken)


@given(CASES)
def test_the_worst_operators_are_those_that_lose_most_cases(cases):
    (found,) = covered(cases)
    lost = [total - passed for _, passed, total in worst_ops(found)]
    assert lost == sorted(lost, reverse=True)
    assert all(lost)


def test_regressed_cases_are_named_and_the_table_has_a_row_for_each_opset():
    passed, failed = (
        ("Abs", 13, Kind.PASSED, Verdict.PASS, ""),
        (
            "Abs",
            6,
            Kind.FAILED,
            Verdict.REGRESSED,
            "IR 14 lowered to 13",
        ),
    )
    found = covered([passed, failed])
    lines = summary(found[0])
    assert any("regressed: test_1" in line for line in lines)
    assert any("IR 14 lowered to 13: 1 case" in line for line in lines)
    text = markdown(found)
    assert "| Abs | 13 | 1 / 1 |" in text
    assert "| Abs | 6 | 0 / 1 (1 failed) |" in text


def test_cells_without_cases_have_no_line():
    assert covered([]) == []
