"""Objectives of a study: takes what `[serving.objectives]` holds, gives limits by name. Pure.

An objective says which variants will do. It accuses none: budgets of a model do that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_inferbench.settings.budgets import Budget, parse_budget
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.spelling import dotted, unknown

METRIC_OF: Mapping[str, str] = MappingProxyType(
    {
        "per_s": "load_throughput",
        **{name: f"load_{name}" for name in ("mean", "p50", "p90", "p95", "p99", "failures")},
        "queue_mean": "queue_mean",
        "queue_p95": "queue_p95",
    }
)
"""What an objective may be on, each with the metric that it limits."""


class Objectives(dict[str, Budget]):
    """The objectives as the user wrote them, by name; all of them absolute."""


def parse_objectives(written: Any, report: Callable[[Sequence[str], str], None]) -> Objectives:
    """Read a table of objectives.

    Args:
        written: What the TOML held.
        report: Called for each fault with the key inside the table, none for the table itself, and
            what is wrong.
    """
    objectives = Objectives()
    if not isinstance(written, dict):
        report((), f'expected a table such as {{ p95 = "100 ms" }}, got {written!r:.60}')
        return objectives
    for name, value in written.items():
        if name not in METRIC_OF:
            report([dotted(name)], unknown(name, "objective", list(METRIC_OF)))
            continue
        try:
            objective = parse_budget(METRICS[METRIC_OF[name]], value)
        except ValueError as error:
            report([dotted(name)], str(error))
            continue
        if objective is None or objective.kind == "relative":
            report([dotted(name)], f"{value!r:.60}: an objective is an absolute limit")
            continue
        objectives[name] = objective
    return objectives
