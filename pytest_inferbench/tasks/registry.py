"""The tasks of one gate: the package's own, and those of third parties.

Takes what others registered; gives classes by name, what the settings must know of each, and the
task of a model. A built-in task's module is imported when a model has that task.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.resolve import resolved
from pytest_inferbench.settings.metrics import METRICS, Metric
from pytest_inferbench.settings.task_kinds import BUILT_IN, REGISTERED, TaskKind
from pytest_inferbench.tasks.base import Task

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.settings.schema import ModelSettings

ENTRY_POINTS = "inferbench.tasks"
"""The group in which a distribution names its tasks: ``name = module:Class``."""

_CLASSES = {
    "tensors": "base:Task",
    "detection": "detection:DetectionTask",
    "classification": "classification:ClassificationTask",
    "embedding": "embedding:EmbeddingTask",
    "segmentation": "segmentation:SegmentationTask",
    "speech": "speech:SpeechTask",
}

Tasks = Mapping[str, type[Task]]


def installed_tasks() -> dict[str, type[Task]]:
    """Return what installed distributions register by entry point.

    Raises:
        InferbenchError: One cannot be imported, or is no task (IB-508).
    """
    found = []
    for point in metadata.entry_points(group=ENTRY_POINTS):
        where = (
            f"the entry point {point.name!r} of {point.dist.name if point.dist else 'a package'}"
        )
        try:
            task = point.load()
        except Exception as error:
            raise InferbenchError(
                "IB-508", f"{where} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if getattr(task, "kind", point.name) != point.name:
            raise InferbenchError("IB-508", f"{where} is of a task that calls itself {task.kind!r}")
        found.append((where, task))
    return checked_tasks(found)


def checked_tasks(
    named: Iterable[tuple[str, object]], others: Tasks = MappingProxyType({})
) -> dict[str, type[Task]]:
    """Return tasks by name, those of `others` first.

    Args:
        named: Each with the words for where it comes from.
        others: What is registered already.

    Raises:
        InferbenchError: One is no task, or takes a name that is taken, its own or that of a metric
            (IB-508).
    """
    found = dict(others)
    metrics = {metric.name for task in found.values() for metric in task.metrics} | {*METRICS}
    for where, task in named:
        if not (isinstance(task, type) and issubclass(task, Task)):
            raise InferbenchError(
                "IB-508",
                f"{where} is {task!r:.60}, not a subclass of pytest_inferbench.tasks.Task",
                "docs/tasks.md shows one.",
            )
        if "kind" not in vars(task):
            raise InferbenchError(
                "IB-508",
                f"{where}, {task.__name__}, has no name of its own",
                'Give the class one: kind = "counting".',
            )
        if task.kind in BUILT_IN or task.kind in found or task.kind == REGISTERED:
            raise InferbenchError(
                "IB-508", f"{where} registers the task {task.kind!r}, a name that is taken"
            )
        for metric in task.metrics:
            _check_metric(where, metric, metrics)
            metrics.add(metric.name)
        found[task.kind] = task
    return found


def _check_metric(where: str, metric: object, taken: set[str]) -> None:
    if not isinstance(metric, Metric):
        raise InferbenchError(
            "IB-508",
            f"{where} has {metric!r:.60} among its metrics, which is no Metric",
            "docs/tasks.md shows one.",
        )
    if metric.name in taken or metric.relative:
        why = "which is taken" if metric.name in taken else "relative, which only figures that are"
        more = "" if metric.name in taken else " recorded may be: limits of a task are absolute"
        raise InferbenchError("IB-508", f"{where} has the metric {metric.name!r}, {why}{more}")


def kinds_of(registered: Tasks) -> dict[str, TaskKind]:
    """Return what the settings must know of every task."""
    own = {
        name: TaskKind(
            name,
            uses=frozenset({"options", "output", "labels", "preprocess"}),
            data="required" if task.needs_data else "optional",
            metrics=tuple(replace(metric, task=name) for metric in task.metrics),
        )
        for name, task in registered.items()
    }
    return {**BUILT_IN, **own}


def make_task(
    name: str,
    model: ModelSettings,
    cache: ArtifactCache,
    say: Callable[[str], None],
    registered: Tasks = MappingProxyType({}),
) -> Task:
    """Return the task that a model's settings name.

    Args:
        name: The model's name.
        model: Its settings.
        cache: Where what is generated is kept.
        say: Is told what takes long.
        registered: Tasks of third parties.
    """
    kind = registered.get(model.task)
    if kind is None:
        module, _, attribute = _CLASSES[model.task].partition(":")
        kind = getattr(importlib.import_module(f"pytest_inferbench.tasks.{module}"), attribute)
    return kind(name, resolved(model, cache, say), cache, say)
