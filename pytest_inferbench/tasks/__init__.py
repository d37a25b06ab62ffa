"""Tasks: what a model is run on and what its outputs are worth; `Task` is for others to extend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferbench.settings.metrics import Bounds, Metric
from pytest_inferbench.tasks.base import Mapped, Scores, Task
from pytest_inferbench.tasks.detection import DetectionTask
from pytest_inferbench.tasks.registry import make_task

if TYPE_CHECKING:
    from pytest_inferbench.tasks.base import Array as Array
    from pytest_inferbench.tasks.base import Sample as Sample

__all__ = ["Bounds", "DetectionTask", "Mapped", "Metric", "Scores", "Task", "make_task"]
