"""Speed-up budgets: takes what the user wrote, gives who must be how many times as fast as whom.

Pure. A cell is written as its backend and precision, as in its id: "trt-int8 / ort-cuda-fp32".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.settings.budgets import Budget
from pytest_inferbench.settings.metrics import Bounds
from pytest_inferbench.settings.spelling import dotted
from pytest_inferbench.settings.units import as_number

_BOUNDS = Bounds(0, float("inf"), low_open=True, high_open=True)
_EXAMPLE = '"ort-cpu-int8 / ort-cpu-fp32" = 1.2'


@dataclass(frozen=True)
class Speedup:
    """One cell of a model must be so many times as fast as another.

    Attributes:
        candidate: The backend and the precision of the one that must be faster.
        partner: Those of the other one.
        budget: The least factor.
    """

    candidate: tuple[str, str]
    partner: tuple[str, str]
    budget: Budget


def parse_speedups(
    written: Any, report: Callable[[str, str], None], metric: str = "speedup"
) -> tuple[Speedup, ...]:
    """Read a table of speed-ups of a model's budgets.

    Args:
        written: What the TOML held.
        report: Called with the key below `budgets` and the fault, for each fault.
        metric: The table's name: `speedup` of one caller, or `load_speedup`.
    """
    if not isinstance(written, dict) or not written:
        report(metric, f"expected a table such as {{ {_EXAMPLE} }}, got {written!r:.60}")
        return ()
    found = []
    for pair, factor in written.items():
        try:
            found.append(_speedup(pair, factor, metric))
        except ValueError as error:
            report(dotted(metric, pair), str(error))
    return tuple(found)


def _speedup(pair: str, factor: object, metric: str) -> Speedup:
    sides = [side.strip() for side in pair.split("/")]
    if len(sides) != 2:
        raise ValueError(f"name two cells with a slash between them: {_EXAMPLE}")
    candidate, partner = (_cell(side) for side in sides)
    if candidate == partner:
        raise ValueError("is the same cell twice")
    limit = as_number(factor)
    if limit is None or limit not in _BOUNDS:
        raise ValueError(f"expected a factor above 0, such as 2.5, got {factor!r:.60}")
    text = f"{limit:g}x of {'-'.join(partner)}"
    budget = Budget(metric, "absolute", limit, "higher", "x", text, "settings")
    return Speedup(candidate, partner, budget)


def _cell(side: str) -> tuple[str, str]:
    backend, _, precision = side.rpartition("-")
    if not backend or precision not in PRECISIONS:
        raise ValueError(
            f'"{side}" is no cell: write a backend and a precision, as in {_EXAMPLE};'
            f" precisions are {', '.join(PRECISIONS)}"
        )
    return backend, precision
