"""What settings must know of a task: its name, the keys that it reads, its own metrics. Pure data.

The classes are in `tasks/`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pytest_inferbench.settings.metrics import Metric

REGISTERED = "registered"
"""Stands in a test's marker for every task that is not the package's own."""


OF_SOME_TASKS = (
    "output",
    "pooling",
    "labels",
    "threshold",
    "recall_at",
    "preprocess",
    "speech",
    "options",
)
"""The keys of a model's table that only some tasks read."""


@dataclass(frozen=True)
class TaskKind:
    """One task as settings see it.

    Attributes:
        uses: The keys of a model's table that only some tasks read, and this one does.
        data: Whether `data` must be COCO annotations, must be there, or may be.
        metrics: Of a registered task: those that are not in `METRICS`.
    """

    name: str
    uses: frozenset[str] = frozenset()
    data: Literal["annotations", "required", "optional"] = "optional"
    metrics: tuple[Metric, ...] = ()


BUILT_IN: Mapping[str, TaskKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            TaskKind("tensors"),
            TaskKind("detection", data="annotations"),
            TaskKind("classification", frozenset({"output", "labels", "preprocess"})),
            TaskKind(
                "embedding",
                frozenset({"output", "pooling", "threshold", "recall_at", "preprocess"}),
            ),
            TaskKind("segmentation", frozenset({"output", "threshold", "preprocess"})),
            TaskKind("speech", frozenset({"labels", "speech"}), data="required"),
        )
    }
)
"""The package's own tasks by name."""
