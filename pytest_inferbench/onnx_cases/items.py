"""ONNX's cases as pytest's items: when there are any, how they are named, how each one ends.

Takes pytest's config and the gate; leaves on an item what its report carries. `is_asked` is the one
place that decides whether the cases are collected: they are two thousand a backend, so a plain run
of the suites leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferbench.entry import gate_of
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.items import CELL, PAYLOAD, marks_of
from pytest_inferbench.judge.verdict import Verdict as JudgedAs
from pytest_inferbench.optional import asked_for

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.onnx_cases.outcomes import Earlier, Outcome, Ruling

CASE = "_inferbench_case"
"""The fixture that is parametrized over names of cases."""

TEST_FILE = "test_onnx_ops.py"
_WORDS = re.compile(r"\bonnx_ops\b|onnx-ops|onnx_case")
_REFUSED = re.compile(r"\bnot\s+\(?\s*onnx_ops\b")


def is_asked(paths: Sequence[Path], selections: Sequence[str], test_file: Path) -> bool:
    """Whether the cases are to be collected.

    Args:
        paths: What the command line names, without the part after `::`.
        selections: The expressions of `-m` and `-k`.
        test_file: Where their test is.

    Returns:
        True if a path is their file or its folder, or an expression names `onnx_ops`, the
        pseudo-model `onnx-ops` or the test itself; never where one says `not onnx_ops`.
    """
    if any(_REFUSED.search(text) for text in selections):
        return False
    return any(path in (test_file, test_file.parent) for path in paths) or any(
        _WORDS.search(text) for text in selections
    )


def leave_out(config: pytest.Config, path: Path) -> bool | None:
    """Return True for the cases' test file where nobody asked for it; else None."""
    if path.name != TEST_FILE or path.parent.name != "conformance":
        return None
    named, selections = asked_for(config)
    return None if is_asked(named, selections, path.resolve()) else True


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give the test every case on every cell; a cell that cannot run here once."""
    gate = gate_of(metafunc.config)
    try:
        names = list(gate.onnx_index.cases) if _any_runs(gate) else []
    except InferbenchError as error:
        raise pytest.UsageError(str(error)) from None
    parameters = [
        pytest.param(cell, name, id=f"{cell.id}-{name}" if name else cell.id, marks=marks)
        for cell in gate.onnx_cells
        for marks in [marks_of(cell.markers)]
        for name in ([""] if cell.cannot_run else names)
    ]
    metafunc.parametrize([CELL, CASE], parameters, indirect=True)


def _any_runs(gate: Gate) -> bool:
    return any(not cell.cannot_run for cell in gate.onnx_cells)


class CaseHandle:
    """One case on one cell, run on first use."""

    def __init__(self, gate: Gate, cell: Cell, name: str, item: pytest.Item) -> None:
        self._gate, self._cell, self.name, self._item = gate, cell, name, item

    @cached_property
    def outcome(self) -> Outcome:
        """How it ended.

        Raises:
            InferbenchError: It could not be run at all.
        """
        return self._gate.case_run_of(self._cell).run(self._gate.onnx_index.read(self.name))

    def conclude(self) -> None:
        """Pass, fail with a message, or skip with a code."""
        from pytest_inferbench.onnx_cases.outcomes import rule

        outcome = self.outcome
        run = self._gate.case_run_of(self._cell)
        updating = self._gate.options.update is not None
        ruling = rule(outcome, run.earlier.get(self.name), run.version, updating=updating)
        self._note(outcome, ruling, run.version, run.earlier.get(self.name))
        said = f"{self.name} on {self._cell.backend}: [{ruling.code}] {ruling.text}"
        if ruling.fails:
            pytest.fail(said, pytrace=False)
        if not ruling.passes:
            pytest.skip(said)

    def _note(
        self, outcome: Outcome, ruling: Ruling, version: str, earlier: Earlier | None
    ) -> None:
        info = self._gate.onnx_index.cases[self.name]
        self._item.stash[PAYLOAD] = {
            "kind": "onnx_case",
            "judgements": _judgements(ruling),
            "onnx_case": {
                "name": self.name,
                "op": info.op,
                "opset": info.opset,
                "outcome": outcome.kind.value,
                "verdict": ruling.verdict.value,
                "code": ruling.code,
                "detail": outcome.detail,
                "note": outcome.note,
                "max_error": outcome.max_error,
                "version": version,
                "onnx": self._gate.onnx_index.onnx_version,
                "earlier": earlier.kind.value if earlier and earlier.kind else None,
                "earlier_version": earlier.version if earlier else None,
            },
        }
        self._item.user_properties.append(("inferbench.onnx_case", outcome.kind.value))


def _judgements(ruling: Ruling) -> list[dict[str, Any]]:
    """A regression must be known as one wherever verdicts are read."""
    judged = {"regressed": JudgedAs.REGRESSED, "improved": JudgedAs.IMPROVED}
    verdict = judged.get(ruling.verdict.value)
    if verdict is None:
        return []
    return [{"metric": "onnx_case", "verdict": verdict.value, "code": ruling.code}]
