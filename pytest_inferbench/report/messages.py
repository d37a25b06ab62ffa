"""Sentences for people: takes a cell and its judgements, gives text. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_inferbench.judge.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from pytest_inferbench.matrix import Cell


def failure(cell: Cell, judgements: Iterable[Judgement], context: Mapping[str, str]) -> str:
    """Say which cell failed, by how much, against what, and what to do.

    Args:
        cell: The cell.
        judgements: All of its judgements; those that did not regress are mentioned briefly.
        context: What differs from the baseline's environment, and other lines worth reading:
            label -> text.
    """
    judgements = list(judgements)
    lines = [f"{cell}"]
    lines += ["  " + sentence(j) for j in judgements if j.verdict is Verdict.REGRESSED]
    others = [
        f"{j.metric} {figure(j.value, j.unit)} ({j.verdict.value})"
        for j in judgements
        if j.verdict is not Verdict.REGRESSED
    ]
    if others:
        lines.append("  beside it: " + ", ".join(others))
    lines += [f"  {label}: {text}" for label, text in context.items()]
    return "\n".join(lines)


def skip(cell: Cell, judgements: Iterable[Judgement]) -> str:
    """Say in one line why nothing was concluded."""
    undecided = [j for j in judgements if not j.verdict.is_reached]
    return f"{cell}: " + "; ".join(sentence(j) for j in undecided)


def sentence(judgement: Judgement) -> str:
    """Return one judgement as a sentence with its code."""
    j = judgement
    parts = [f"[{j.code}] {j.metric} {j.verdict.value}: {figure(j.value, j.unit)}"]
    if j.change is not None and j.baseline is not None:
        parts.append(
            f"against {figure(j.baseline, j.unit)}, {j.change.value:+.1%}"
            f" (between {j.change.low:+.1%} and {j.change.high:+.1%})"
        )
    parts.append(f"budget {j.budget}")
    if j.detail:
        parts.append(j.detail)
    if j.verdict is Verdict.INCONCLUSIVE and j.smallest_visible is not None:
        parts.append(f"smallest change visible here: {j.smallest_visible:+.0%}")
    return ", ".join(parts[:-1]) + (f"; {parts[-1]}" if len(parts) > 1 else parts[-1])


def figure(value: float, unit: str) -> str:
    """Return a number with its unit, at a precision a person can read."""
    if not math.isfinite(value):
        return str(value)
    if unit in ("", "ratio"):
        return f"{value:.6g}"
    return f"{value:.4g} {unit}"
