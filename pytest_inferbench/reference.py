"""What every cell of a model is compared with: the fp32 outputs of the reference backend.

Takes the gate and a task; gives outputs and scores, each computed once. Knows no budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_inferbench.provision import reference_outputs
from pytest_inferbench.tasks import DetectionTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.tasks import Sample, Task


class Reference:
    """One model's reference."""

    def __init__(self, gate: Gate, task: Task) -> None:
        self._gate, self._task = gate, task

    @cached_property
    def outputs(self) -> Sequence[Sample]:
        """The outputs for every sample of the model's data."""
        return reference_outputs(self._gate, self._task)

    @cached_property
    def scores(self) -> CocoScores:
        """What they are worth against the annotations."""
        assert isinstance(self._task, DetectionTask)
        return self._task.score(self.outputs)
