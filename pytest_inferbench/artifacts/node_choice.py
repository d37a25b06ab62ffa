"""Which nodes a recipe leaves in float, and why: takes names and nodes, gives names and reasons.

Runs in the worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.spelling import nearest

BY_TYPE = "op:"
"""Before an operator's type, where nodes are named: ``op:Softmax``."""

AFTER_WEIGHTS = "follows the last layer with weights"
EXCLUDED = "excluded by the settings"


def check_excluded(source: Path, nodes: Iterable[Any], exclude: Iterable[str]) -> None:
    """Refuse what no node of the model is called.

    Raises:
        InferbenchError: IB-432.
    """
    nodes = list(nodes)
    names = {node.name for node in nodes if node.name}
    types = {node.op_type for node in nodes}
    for wanted in exclude:
        by_type = wanted.startswith(BY_TYPE)
        if (wanted[len(BY_TYPE) :] in types) if by_type else (wanted in names):
            continue
        near = _nearest(wanted, names, types)
        kind = "node of the type" if by_type else "node"
        raise InferbenchError(
            "IB-432",
            f"{source.name} has no {kind} {wanted!r} to exclude from quantization"
            + (f"; did you mean {near!r}?" if near else ""),
            "Correct the model's quantization.exclude. By type it may name"
            f" {', '.join(f'{BY_TYPE}{each}' for each in sorted(types))}.",
        )


def _nearest(wanted: str, names: Iterable[str], types: Iterable[str]) -> str | None:
    """Return what was meant: a type for a type; for a name a name, or a type without its mark."""
    word = wanted.removeprefix(BY_TYPE)
    like = nearest(word, types)
    bare = like is not None and word.lower() == like.lower()
    if not (bare or wanted.startswith(BY_TYPE)) and (name := nearest(word, names)):
        return name
    return f"{BY_TYPE}{like}" if like else None


def names_of(nodes: Iterable[Any], exclude: Iterable[str]) -> list[str]:
    """Return names of nodes for names and for types; what a preparation removed is left out."""
    wanted = list(exclude)
    types = {name[len(BY_TYPE) :] for name in wanted if name.startswith(BY_TYPE)}
    by_type = [node.name for node in nodes if node.op_type in types]
    return [*(name for name in wanted if not name.startswith(BY_TYPE)), *by_type]


def grouped(left: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Count operators by type and reason, in plain types."""
    found = sorted(Counter(left).items())
    return [{"op": op, "nodes": count, "why": why} for (op, why), count in found]


def nothing_to_do(precision: str, source: Path, why: str) -> InferbenchError:
    """Return the error of a recipe that would change nothing (IB-434)."""
    return InferbenchError(
        "IB-434",
        f"{source.name} at {precision} would be the same model: {why}",
        f"Leave {precision} out of the model's precisions.",
    )
