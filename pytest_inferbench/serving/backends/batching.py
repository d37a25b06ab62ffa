"""Requests that the server joined: which can be run as one, and whose rows are whose.

Beside each backend in Python that is installed; takes arrays, gives arrays, knows no runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Tensors = dict[str, Any]


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
