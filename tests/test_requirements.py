"""A requirement over a ledger: what is silent, what was not asked, what reached a verdict."""

from __future__ import annotations

import pytest

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.requirements import unmet

PASSED = {"outcome": "passed"}
FAILED = {"outcome": "failed"}
SILENT = {"outcome": "skipped", "reason": "inconclusive"}
NOT_ASKED = {"outcome": "skipped", "reason": "not asked: why", "payload": {"not_asked": "why"}}


def required(*notes):
    cell = Cell("net", "ort-cpu", "fp32", "cpu-x")
    ledger = Ledger()
    for index, note in enumerate(notes):
        payload = {"cell": cell.id, **note.get("payload", {})}
        ledger.note(f"a.py::test_{index}[x]", **{**note, "payload": payload})
    return unmet("fp32", [cell], ledger)


@pytest.mark.parametrize("notes", [[PASSED], [FAILED], [PASSED, NOT_ASKED], [NOT_ASKED, FAILED]])
def test_it_is_met_when_every_question_that_was_asked_was_answered(notes):
    assert required(*notes) is None


@pytest.mark.parametrize(
    ("notes", "named"),
    [
        ([NOT_ASKED], "test_0: not asked: why"),
        ([NOT_ASKED, NOT_ASKED], "test_0: not asked: why; test_1: not asked: why"),
        ([PASSED, SILENT], "test_1: inconclusive"),
        ([NOT_ASKED, SILENT], "test_1: inconclusive"),
        ([PASSED, NOT_ASKED, SILENT], "test_2: inconclusive"),
    ],
)
def test_it_is_not_met_by_silence_and_names_it(notes, named):
    why = required(*notes)
    assert "[IB-202] 1 of 1 required cells" in why
    assert why.endswith(f": {named}")


def test_it_is_not_met_by_nothing():
    assert "none of its tests ran" in required()
