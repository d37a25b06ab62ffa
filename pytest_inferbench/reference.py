"""What every cell of a model is compared with: the fp32 outputs of the reference backend.

Takes the gate and a task; gives outputs and scores, each computed once. Knows no budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.provision import reference_outputs

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.tasks.base import Sample, Task


class Reference:
    """One model's reference."""

    def __init__(self, gate: Gate, task: Task) -> None:
        self._gate, self._task = gate, task

    @cached_property
    def outputs(self) -> Sequence[Sample]:
        """The outputs for every sample of the model's data."""
        return reference_outputs(self._gate, self._task)

    @cached_property
    def scores(self) -> Any:
        """What they are worth by themselves, as the model's task scores outputs."""
        return self._task.score(self.outputs)
