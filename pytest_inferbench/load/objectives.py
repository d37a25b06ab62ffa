"""Objectives of load: takes what the options or the settings say, gives what a result misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.settings.find import find, parse, tool_table
from pytest_inferbench.settings.objectives import METRIC_OF, Objectives, parse_objectives

if TYPE_CHECKING:
    from pytest_inferbench.settings.budgets import Budget

# What the server alone knows: a load test cannot see it from outside.
_SERVERS = tuple(name for name in METRIC_OF if name.startswith("queue"))


class Wanted(NamedTuple):
    """Objectives, and the names of those in the settings that only the server could tell."""

    objectives: Objectives
    beyond: Sequence[str] = ()


def objectives_of(options: Sequence[str], folder: Path) -> Wanted:
    """Return the objectives: those of the options; where there are none, those of the settings.

    Args:
        options: Such as `p95=100ms`.
        folder: Where a settings file is looked for.

    Raises:
        InferbenchError: They cannot be read, or cannot be judged from outside (IB-838).
    """
    if options:
        parts = [each.partition("=") for each in options]
        asked = _parsed({name.strip(): _value(text) for name, _, text in parts}, "--objective")
        hidden = [name for name in asked if name in _SERVERS]
        if hidden:
            raise InferbenchError(
                "IB-838",
                f"--objective: {', '.join(hidden)}: only the server knows how long requests wait",
                "pytest -m serving judges [serving.objectives] with what the server tells.",
            )
        return Wanted(asked)
    file = find(folder)
    if file is None:
        return Wanted(Objectives())
    data = parse(file.read_bytes())
    ours: Any = data if file.name != "pyproject.toml" else tool_table(data)
    serving = ours.get("serving", {}) if isinstance(ours, dict) else {}
    written = serving.get("objectives", {}) if isinstance(serving, dict) else {}
    found = _parsed(written, f"{file}: serving.objectives")
    seen = Objectives({name: each for name, each in found.items() if name not in _SERVERS})
    return Wanted(seen, [name for name in found if name in _SERVERS])


def missed(result: LoadResult, objectives: Mapping[str, Budget]) -> list[str]:
    """Return each objective that a result misses, in words."""
    said = []
    for name, budget in objectives.items():
        value = result.figure(name)
        if not budget.holds(value):
            clients = f"{result.clients} clients"
            asked = clients if result.rate_per_s is None else f"{result.rate_per_s:g} /s due"
            unit = "" if budget.unit in ("ratio", "value") else f" {budget.unit}"
            said.append(f"{name} is {value:.4g}{unit} with {asked}, the objective {budget.text}")
    return said


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _parsed(written: Any, where: str) -> Objectives:
    faults: list[str] = []

    def report(keys: Sequence[str], what: str) -> None:
        faults.append(f"{'.'.join(keys)}: {what}" if keys else what)

    objectives = parse_objectives(written, report)
    if faults:
        raise InferbenchError(
            "IB-838", f"{where}: {'; '.join(faults)}", 'Such as p95 = "100 ms" or per_s = "500 /s".'
        )
    return objectives
