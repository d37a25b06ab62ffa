"""The lines that tell what servers withstood: takes cells and the ledger. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.report.table import Named

_UNITS = {"_s": " s", "_ms": " ms"}


def lines(cells: Sequence[Named], ledger: Ledger) -> list[str]:
    """Return, for every cell that was asked, a line a question, and what is known of its server."""
    by_cell = ledger.by_cell()
    said: list[str] = []
    for cell in cells:
        asked = [e for e in by_cell.get(cell.id, ()) if "resilience" in e.payload]
        if asked:
            said.append(f"resilience of {cell}:")
        for entry in asked:
            told = entry.payload["resilience"]
            ending = _ending(told)
            question = told["question"].removeprefix("test_").replace("_", " ")
            said.append(f"  {question}: {ending}; {figures(told['seen'])}")
            said += [f"    known: {each}" for each in (*told["known"], *told["deaths"])]
    return said


def _ending(told: Mapping[str, Any]) -> str:
    if told["faults"]:
        return "failed"
    return "known to fail" if told["deaths"] else "withstood"


def figures(seen: Mapping[str, Any]) -> str:
    """Return figures with their units, by the ends of their names."""
    return ", ".join(f"{_words(name)} {_value(name, value)}" for name, value in seen.items())


def _words(name: str) -> str:
    for ending in _UNITS:
        name = name.removesuffix(ending)
    return name.replace("_", " ")


def _value(name: str, value: float) -> str:
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    return f"{value:.3g}{unit}" if unit else f"{value:g}"
