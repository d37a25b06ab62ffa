"""Answers that can be told apart: takes outputs and a tolerance, gives those to ask for. Pure.

An answer that went to the wrong caller is seen only if it is unlike the one that was due, by more
than rounding explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_inferbench.conformance.exam import relative_error

_ROUNDED_TWICE = 2.0
"""Both answers may be off by rounding, each its own way."""

ALIKE = "its answers are alike whatever it is asked: one to the wrong caller would not be seen"


def are_unlike(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float) -> bool:
    """Whether an answer is not taken for another, rounding of both allowed for."""
    return any(
        relative_error(array, other[name]) > _ROUNDED_TWICE * tolerance
        for name, array in one.items()
    )


def told_apart(
    answers: Iterable[tuple[int, Mapping[str, Any]]], tolerance: float, most: int
) -> list[int]:
    """Return the numbers of the first answers of which every two are unlike.

    Args:
        answers: Each with its number; no more are taken than it needs.
        tolerance: How far an answer may be off by rounding, as a share of its largest value.
        most: How many are enough.
    """
    found: dict[int, Mapping[str, Any]] = {}
    for number, answer in answers:
        if all(are_unlike(answer, each, tolerance) for each in found.values()):
            found[number] = answer
        if len(found) == most:
            break
    return list(found)
