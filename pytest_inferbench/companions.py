"""A model's second part at work beside the first: a decoder next to its encoder, on the same cell.

Takes a cell's run and the part's task; gives its artifact and its outputs, as for any cell. Knows
not what the parts mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferbench.cellrun import CellRun

if TYPE_CHECKING:
    from pytest_inferbench.tasks.base import Task


class CompanionRun(CellRun):
    """The run of a part that has a file of its own, on the backend and precision of a cell."""

    def __init__(self, beside: CellRun, part: Task) -> None:
        super().__init__(beside.gate, beside.cell)
        self._part = part

    @property
    def task(self) -> Task:
        """The part's own task, with its own calibration samples."""
        return self._part
