"""How many figures of a cell may turn a session red by noise: takes settings, gives a count. Pure.

They share the session's error budget: each has its part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_inferbench.settings.metrics import TIMED_UNDER_LOAD

if TYPE_CHECKING:
    from pytest_inferbench.backends.catalog import BackendInfo
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.settings.schema import Settings

_OF_ONE_CALLER = (
    *("p5", "p50", "p90", "p99", "mean", "memory", "cold_start"),
    *("device_memory", "power", "energy", "throughput"),
)


def gated(settings: Settings, catalog: Mapping[str, BackendInfo], cell: Cell) -> int:
    """Return how many gated comparisons a cell has, if all of its tests run.

    Args:
        settings: What its budgets are.
        catalog: Every backend: only what is served is put under load.
        cell: The cell.
    """
    place = (cell.precision, cell.hardware)

    def budgeted(metrics: tuple[str, ...]) -> int:
        return sum(settings.budget(cell.model, name, *place) is not None for name in metrics)

    sides = (cell.model, cell.backend, cell.precision)
    count = budgeted(_OF_ONE_CALLER) + len(settings.speedups(*sides))
    if catalog[cell.backend].served:
        count += budgeted(TIMED_UNDER_LOAD) * len(settings.serving.concurrency)
        count += len(settings.load_speedups(*sides))
    return count
