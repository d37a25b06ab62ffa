"""When requests are due in an open loop: takes a rate, gives seconds since the start. Pure.

An open loop sends what the world would send, whether or not the server keeps up. A closed loop
waits for an answer before it asks again, so a slow server is asked less, and its queue never seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

Arrivals = Literal["poisson", "constant"]
ARRIVALS: tuple[Arrivals, ...] = ("poisson", "constant")


def due_s(arrivals: Arrivals, rate_per_s: float, seed: int, phase: float = 0.0) -> Iterator[float]:
    """Yield the moments at which requests are due, without end.

    Independent Poisson arrivals at parts of a rate add up to Poisson arrivals at the whole; so
    several processes take a part each, with a seed of their own.

    Args:
        arrivals: `poisson`: independent of each other, as from many users; `constant`: evenly
            spaced.
        rate_per_s: How many a second, on average.
        seed: What Poisson arrivals are drawn from.
        phase: By what share of a gap even ones are put off; processes differ in it.

    Raises:
        ValueError: The rate is not above 0, or there are no such arrivals.
    """
    if not rate_per_s > 0:
        raise ValueError(f"a rate of {rate_per_s} /s sends nothing")
    if arrivals not in ARRIVALS:
        raise ValueError(f"arrivals are {' or '.join(ARRIVALS)}, not {arrivals!r}")
    return _poisson(rate_per_s, seed) if arrivals == "poisson" else _constant(rate_per_s, phase)


def _poisson(rate_per_s: float, seed: int) -> Iterator[float]:
    draw = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += draw.expovariate(rate_per_s)
        yield at_s


def _constant(rate_per_s: float, phase: float) -> Iterator[float]:
    number = 0
    while True:
        # by multiplication: adding up gaps would drift
        yield (number + phase) / rate_per_s
        number += 1
