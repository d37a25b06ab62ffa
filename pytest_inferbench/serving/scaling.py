"""How a server scales: takes the points of a sweep, gives peak, saturation, efficiency, cost. Pure.

A sweep runs every count of units (instances, GPUs) at several concurrencies, each point in several
runs. What is said of it, by rules that docs/serving.md repeats:

- A point's rate is the median of its runs. A point with failures, or without answers, has none.
- The **peak** of a count of units is the best rate of its concurrencies.
- **Saturation** is the lowest concurrency whose rate is at least 95 % of the peak: beyond it more
  requests at once wait longer and come no faster. Where only the highest concurrency of the sweep
  gets there, the sweep did not reach saturation: the peak is a lower bound, and is called one.
- **Scaling efficiency** is the peak over what the fewest units of the sweep reach, times as many.
- **Cost** of a million inferences is the hourly price over the inferences of an hour at the peak.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SATURATED = 0.95
"""The share of the peak from which on a rate counts as having reached it."""

_HOUR_S = 3600.0
_MILLION = 1e6


@dataclass(frozen=True)
class Point:
    """What one configuration did.

    Attributes:
        units: Instances, or GPUs.
        concurrency: Requests at once.
        per_s: Inferences a second, in each run.
        p95_ms: The 95th percentile of the latency, in each run.
        failures: Requests that failed, over all runs.
    """

    units: int
    concurrency: int
    per_s: tuple[float, ...]
    p95_ms: tuple[float, ...]
    failures: int = 0

    @property
    def rate_per_s(self) -> float:
        """The median of the runs; NaN where it may not count."""
        usable = self.per_s and not self.failures and all(0 < r < math.inf for r in self.per_s)
        return statistics.median(self.per_s) if usable else math.nan

    @property
    def tail_ms(self) -> float:
        """The median of the runs' 95th percentiles."""
        return statistics.median(self.p95_ms) if self.p95_ms else math.nan


@dataclass(frozen=True)
class Price:
    """What an hour costs.

    Attributes:
        host_per_hour: The machine, whatever runs on it.
        unit_per_hour: Each unit beside it: a GPU's own price; 0 where the machine's is all.
    """

    host_per_hour: float
    unit_per_hour: float = 0.0

    def per_hour(self, units: int) -> float:
        """Return what so many units cost."""
        return self.host_per_hour + units * self.unit_per_hour


@dataclass(frozen=True)
class Scaled:
    """What a count of units came to.

    Attributes:
        peak_per_s: Its best rate; NaN where no point counts.
        at_concurrency: Where that was; 0 where nowhere.
        peak_p95_ms: The tail there.
        saturation: The concurrency from which on more brings nothing; None if it was not reached.
        efficiency: Of scaling from the fewest units; 1 for those, NaN where it cannot be told.
        cost_per_million: At the peak; None without a price.
    """

    units: int
    peak_per_s: float
    at_concurrency: int
    peak_p95_ms: float
    saturation: int | None
    efficiency: float
    cost_per_million: float | None

    @property
    def is_lower_bound(self) -> bool:
        """Whether more concurrency might have brought more."""
        return self.saturation is None


def scale(points: Iterable[Point], price: Price | None = None) -> list[Scaled]:
    """Return a row for each count of units, fewest first.

    Raises:
        ValueError: The same point is there twice.
    """
    by_units: dict[int, list[Point]] = {}
    for point in points:
        by_units.setdefault(point.units, []).append(point)
    rows: list[Scaled] = []
    for units in sorted(by_units):
        rows.append(_scaled(by_units[units], rows[0] if rows else None, price))
    return rows


def cost_per_million(per_s: float, price_per_hour: float) -> float:
    """Return what a million inferences cost at a rate that is kept up."""
    return price_per_hour / (_HOUR_S * per_s) * _MILLION


def saturation(points: Sequence[Point]) -> int | None:
    """Return the lowest concurrency that reaches the peak, or None if the sweep ended before it.

    Args:
        points: Of one count of units, in any order.
    """
    counted = sorted(
        (each for each in points if not math.isnan(each.rate_per_s)),
        key=lambda each: each.concurrency,
    )
    if not counted:
        return None
    enough = SATURATED * max(each.rate_per_s for each in counted)
    first = next(each.concurrency for each in counted if each.rate_per_s >= enough)
    return None if first == counted[-1].concurrency else first


def _scaled(points: Sequence[Point], fewest: Scaled | None, price: Price | None) -> Scaled:
    units = points[0].units
    if len({each.concurrency for each in points}) < len(points):
        raise ValueError(f"{units} units have a concurrency twice")
    counted = [each for each in points if not math.isnan(each.rate_per_s)]
    if not counted:
        return Scaled(units, math.nan, 0, math.nan, None, math.nan, None)
    best = max(counted, key=lambda each: each.rate_per_s)
    peak = best.rate_per_s
    ideal = peak if fewest is None else fewest.peak_per_s * units / fewest.units
    return Scaled(
        units=units,
        peak_per_s=peak,
        at_concurrency=best.concurrency,
        peak_p95_ms=best.tail_ms,
        saturation=saturation(points),
        efficiency=peak / ideal,
        cost_per_million=cost_per_million(peak, price.per_hour(units)) if price else None,
    )
