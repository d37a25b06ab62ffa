"""What a test holds: one handle a kind of measurement, lazy, with its judgements.

Takes a cell's run and the settings' budgets; gives figures and judgements. The arithmetic is in
`accuracy/` and `judge/`; the work is in `cellrun.py`.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Judgement, judge_absolute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.settings.budgets import Budget


class Handle:
    """A measurement of one cell, made on first use."""

    kind = ""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def judgements(self) -> list[Judgement]:
        """Judge against every budget that applies."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """The numbers for tables and results."""
        raise NotImplementedError

    def addition(self, _judgements: list[Judgement]) -> dict[str, Any] | None:
        """The session to record, when baselines are being updated."""
        return None

    def context(self) -> Mapping[str, str]:
        """What a failure message should say beside the figures: label -> text."""
        return {}

    def _budget(self, metric: str) -> Budget | None:
        cell = self._run.cell
        return self._run.gate.settings.budget(
            cell.model, metric, cell.precision, cell.hardware
        )
