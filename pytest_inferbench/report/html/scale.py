"""Axes: takes numbers, gives where they stand on a drawing and which ticks to write. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST = 1e60
"""What is larger is no measurement; it stands at the end of its scale."""


@dataclass(frozen=True)
class Scale:
    """A line from values to coordinates.

    Attributes:
        low: The smallest value; `high` the largest.
        start: Where `low` stands; `end` is where `high` does.
        logarithmic: Whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return where a value stands; outside of the scale it stands at its end."""
        low, high = self._bent(self.low), self._bent(self.high)
        at = 0.5 if high == low else (self._bent(value) - low) / (high - low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, at))

    def _bent(self, value: float) -> float:
        return math.log(max(value, 1 / MOST)) if self.logarithmic else value

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values between the ends."""
        if self.logarithmic and self.low > 0 and self.high / self.low >= 20:
            return _decades(self.low, self.high, most)
        return round_ticks(self.low, self.high, most)


def scale_of(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    logarithmic: bool = False,
    include: Sequence[float] = (),
    room: float = 0.06,
) -> Scale:
    """Return the scale that shows all finite values, with some room at the ends.

    Args:
        values: What is to be shown; what is not finite (or not above 0, where the scale is
            logarithmic) is not.
        start: Where it begins.
        end: Where it ends.
        logarithmic: Whether equal ratios are to be equally far apart.
        include: Values that must be on it, too.
        room: How much is left free at either end, as a share.
    """
    shown = [v for v in (*values, *include) if abs(v) < MOST and (v > 1 / MOST or not logarithmic)]
    low, high = (min(shown), max(shown)) if shown else (1.0, 2.0)
    if logarithmic:
        factor = (high / low) ** room if high > low else 1.25
        return Scale(low / factor, high * factor, start, end, True)
    space = (high - low) * room or abs(high) * 0.05 or 1.0
    return Scale(low - space, high + space, start, end)


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return values of 1, 2 or 5 times a power of ten between two, at most so many."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / max(most, 1)))
    for factor in (1, 2, 5, 10, 20):
        step = power * factor
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(i * step, 12) for i in range(first, last + 1)]
    return [low, high]


def written(values: Sequence[float]) -> list[str]:
    """Return ticks as text: as many digits as tell them apart, and no more."""
    for digits in range(6):
        plain = [f"{value:.{digits}f}" for value in values]
        back = map(float, plain)
        if all(math.isclose(b, v, abs_tol=1e-12) for b, v in zip(back, values, strict=True)):
            return [_grouped(text) for text in plain]
    return [f"{value:.3g}" for value in values]


def short(value: float, digits: int = 4) -> str:
    """Return a number that a person reads at a glance; large ones in groups of three."""
    if not math.isfinite(value):
        return "no figure" if math.isnan(value) else f"{value:+}"
    if abs(value) >= 10 ** (digits - 1):
        return _grouped(f"{value:.0f}")
    return f"{value:.{digits}g}"


def _grouped(text: str) -> str:
    head, dot, tail = text.partition(".")
    sign, head = ("-", head[1:]) if head.startswith("-") else ("", head)
    if len(head) > 4:
        first = len(head) % 3 or 3
        head = "\u2009".join([head[:first], *(head[i : i + 3] for i in range(first, len(head), 3))])
    return sign + head + dot + tail


def _decades(low: float, high: float, most: int) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(found) <= most:
            return found
    every = math.ceil(len(found) / most)
    return found[::every]
