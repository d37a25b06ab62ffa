"""Reads numbers with units: takes what TOML held, gives a float in the wanted unit. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6}

UNITS: Mapping[str, Mapping[str, float]] = {
    "ms": _MS,
    "s": {unit: factor / 1e3 for unit, factor in _MS.items()},
    "MiB": {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0},
    "W": {"mW": 1e-3, "W": 1.0, "kW": 1e3},
    "J": {"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3},
    "dB": {"dB": 1.0},
    "ratio": {},
    "value": {},
}
"""Canonical unit -> the units it may be written in, each with its factor."""

QUANTITY = re.compile(
    r"(?P<sign>[+-]?)\s*"
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
    r"(?P<unit>%|[A-Za-zµ]*)"
)


def example(unit: str) -> str:
    """Return how a number of this unit may be written."""
    examples = {"ms": "30 ms", "s": "1 s", "MiB": "200 MiB", "W": "60 W", "J": "50 mJ"}
    examples["dB"] = "40 dB"
    return f'"{examples[unit]}"' if unit in examples else "0.99"


def as_number(value: object) -> float | None:
    """Return a TOML number as a float, None if it is something else; booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def quantity(value: object, unit: str) -> float:
    """Return a quantity such as `"500 ms"` in `unit`; bare numbers are in that unit already.

    Raises:
        ValueError: Not a finite number, or in a unit of something else.
    """
    number = as_number(value)
    if isinstance(value, str):
        match = QUANTITY.fullmatch(value.strip().replace("μ", "µ"))
        if match is None or match["unit"] == "%":
            raise ValueError(f"cannot read {value!r}; write it as {example(unit)}")
        number = float(match["sign"] + match["number"]) * _factor(match["unit"], unit)
    if number is None:
        raise ValueError(f"expected a number such as {example(unit)}, got {value!r:.60}")
    if not math.isfinite(number):
        raise ValueError(f"{value!r:.60} is not a finite number")
    return number


def positive(value: object, unit: str) -> float:
    """Return a quantity above zero.

    Raises:
        ValueError: As `quantity` does, or not above zero.
    """
    number = quantity(value, unit)
    if number <= 0:
        raise ValueError(f"{value!r:.60} must be above zero")
    return number


def _factor(written: str, unit: str) -> float:
    if not written:
        return 1.0
    factors = UNITS[unit]
    if written not in factors:
        choice = f"write {', '.join(factors)}" if factors else "write a plain number"
        raise ValueError(f'"{written}" is not a unit that belongs here; {choice}')
    return factors[written]
