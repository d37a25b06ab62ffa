"""Requests that the server joined: which can be run as one, and whose rows are whose.

Beside each backend in Python that is installed; takes arrays, gives arrays, knows no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Tensors = dict[str, Any]


def outcomes(
    inputs: Sequence[Tensors], once: Callable[[Tensors], Tensors], is_batched: bool
) -> list[Tensors | Exception]:
    """Return what each request's inputs gave, in their order; the error where they gave none.

    Args:
        inputs: Of each request.
        once: Runs the model.
        is_batched: Whether requests may be joined at all.
    """
    found: list[Any] = [None] * len(inputs)
    for group in grouped(inputs) if is_batched else [[i] for i in range(len(inputs))]:
        given = _joined([inputs[i] for i in group], once)
        for index, outcome in zip(group, given, strict=True):
            found[index] = outcome
    return found


def _joined(
    parts: Sequence[Tensors], once: Callable[[Tensors], Tensors]
) -> list[Tensors | Exception]:
    """Run inputs as one batch; one by one where that fails, so that each gets its own error."""
    try:
        if len(parts) == 1:
            return [once(parts[0])]
        outputs = once({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        rows = [len(next(iter(part.values()))) for part in parts]
        if all(array.shape[:1] == (sum(rows),) for array in outputs.values()):
            return [*split(outputs, rows)]
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the answer
        if len(parts) == 1:
            return [error]
    return [each for part in parts for each in _joined([part], once)]


def grouped(inputs: Sequence[Tensors]) -> list[list[int]]:
    """Return which requests can be joined: those that differ in their first dimension alone."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, tensors in enumerate(inputs):
        kind = tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(tensors.items()))
        groups.setdefault(kind, []).append(index)
    return list(groups.values())


def split(outputs: Tensors, rows: Sequence[int]) -> list[Tensors]:
    """Return each request's rows of every output."""
    ends = np.cumsum(rows)
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for end, count in zip(ends, rows, strict=True)
    ]
