"""A fixed set of boxes, and what pycocotools makes of it to the last digit.

Takes nothing; gives objects and detections, with the digest of their table of precision. Pure:
knows no judge.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.matching import Found, Objects

Classes = Sequence[tuple[Objects, Found]]
"""Of each class: what is there, and what was detected."""

PRECISION_SHA256 = "219d9c11646d23fe981fba2531615da8a3b5e8a6a5ec8318fcb56dce89412755"
"""Of the precision that pycocotools 2.0.11, called directly, gives for `probe()`."""

_IMAGES = 12


def digest(table: npt.NDArray[Any]) -> str:
    """Return what identifies a table of precision to the last digit."""
    return hashlib.sha256(np.ascontiguousarray(table, "<f8").tobytes()).hexdigest()


def probe() -> Classes:
    """Return a fixed set with ties, crowds, all sizes, absent classes and classes never found.

    Its corners are whole numbers, so that no overlap depends on how a processor rounds.
    """
    draw = random.Random(0)
    return [_class(draw, kind) for kind in range(5)]


def _class(draw: random.Random, kind: int) -> tuple[Objects, Found]:
    def below(most: int) -> int:
        return int(draw.random() * most)  # unlike `randrange`, the same in every Python

    objects: list[tuple[Any, ...]] = []
    found: list[tuple[Any, ...]] = []
    for image in range(_IMAGES):
        for _ in range(below(7) if kind != 3 else 0):
            x, y, w, h = (1 + below(most) for most in (200, 200, 150, 150))
            objects.append((image, (x, y, w, h), w * h / (1 + below(2)), below(10) == 0))
            for _ in range(below(4) if kind != 4 else 0):
                sides = [max(1, side + below(18) - 9) for side in (w, h)]
                found.append((image, (x + below(12) - 6, y + below(12) - 6, *sides), below(20)))
        for _ in range(below(5) if kind != 4 else 0):
            found.append((image, tuple(1 + below(200) for _ in range(4)), below(20)))
    boxes = [np.array([row[1] for row in rows], float).reshape(-1, 4) for rows in (objects, found)]
    return (
        Objects(
            np.array([row[0] for row in objects], np.int64),
            boxes[0],
            np.array([row[2] for row in objects], np.float64),
            np.array([row[3] for row in objects], bool),
        ),
        Found(
            np.array([row[0] for row in found], np.int64),
            boxes[1],
            boxes[1][:, 2] * boxes[1][:, 3],
            np.array([row[2] for row in found], np.float64) / 20,
        ),
    )
