"""How load changes over time: takes a shape's name and numbers, gives steps. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Shape = Literal["sweep", "ramp", "spike", "soak"]
SHAPES: tuple[Shape, ...] = ("sweep", "ramp", "spike", "soak")


FEW = 16
"""How many clients a shape has where nobody says."""


class Step(NamedTuple):
    """A stretch with the same load throughout."""

    clients: int
    seconds: float


def doubling(most: int) -> list[int]:
    """Return 1, 2, 4, ... and at last the most."""
    return [*(1 << power for power in range(math.ceil(math.log2(most)))), most]


def most_clients(levels: str, asked: int | None) -> int:
    """Return the largest number of clients of a shape, as its options have it.

    Args:
        levels: The levels of a sweep, such as `1,2,4`; or nothing.
        asked: The number of users.
    """
    return max(levels_of(levels) or [asked or FEW])


def levels_of(text: str) -> list[int]:
    """Read levels such as `1,2,4`."""
    return [int(level) for level in text.split(",") if level]


def steps_of(shape: Shape, most: int, seconds: float, levels: Sequence[int] = ()) -> list[Step]:
    """Return the steps of a shape.

    Args:
        shape: `sweep`: each level for as long; `ramp`: up in ten even steps; `spike`: a tenth of
            the load, the whole of it for a fifth as long, and a tenth again; `soak`: all of it, in
            ten stretches, so that a drift shows.
        most: The largest number of clients.
        seconds: How long a step of a sweep takes, or the whole of any other shape.
        levels: The numbers of clients of a sweep; else they double up to the most.

    Raises:
        ValueError: There is no such shape, or nothing in it.
    """
    if most < 1 or not seconds > 0 or any(level < 1 for level in levels):
        raise ValueError("a shape has at least one client and takes some time")
    if shape == "sweep":
        return [Step(level, seconds) for level in levels or doubling(most)]
    if shape == "ramp":
        tenths = dict.fromkeys(max(1, round(most * tenth / 10)) for tenth in range(1, 11))
        return [Step(clients, seconds / len(tenths)) for clients in tenths]
    if shape == "spike":
        few = max(1, most // 10)
        return [Step(few, seconds * 0.4), Step(most, seconds * 0.2), Step(few, seconds * 0.4)]
    if shape == "soak":
        return [Step(most, seconds / 10)] * 10
    raise ValueError(f"a shape is {', '.join(SHAPES)}, not {shape!r}")
