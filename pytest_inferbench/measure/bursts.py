"""Short bursts of timed calls, taken when asked for: takes callables, gives nanoseconds a call.

Two workers that take bursts in turn see the same machine, so that their ratio is the code's. Knows
no model, no budget and not who else takes bursts.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pytest_inferbench.measure import sampling

SETTLE_SHARE = 0.1
"""The start of a burst that does not count: threads wake up and caches fill again."""


class Bursts:
    """Calls that have been warmed up, ready to be timed again and again.

    Args:
        runs: What to call; several are taken in turn.
        warmup_floor_s: The least time of warm-up.
        warmup_ceiling_s: The most, steady or not.
        synchronize: Waits until a call's work is done, where calls return early.
    """

    def __init__(
        self,
        runs: Sequence[sampling.Run],
        *,
        warmup_floor_s: float,
        warmup_ceiling_s: float,
        synchronize: Callable[[], object],
    ) -> None:
        self._synchronize = synchronize
        warmed = sampling.warm_up(runs, synchronize, warmup_floor_s, warmup_ceiling_s)
        self._warmup = {
            "warmup_s": warmed.seconds,
            "warmup_calls": len(warmed.ns),
            "warmup_steady": warmed.steady,
            "typical_ms": float(np.median(warmed.ns[-100:])) / 1e6,
        }
        self.calls_per_sample = sampling.calls_per_sample(warmed.ns)
        taken = itertools.cycle(runs)
        self._batches = itertools.cycle(
            [tuple(itertools.islice(taken, self.calls_per_sample)) for _ in runs]
        )

    def facts(self) -> dict[str, Any]:
        """Return how it was warmed up, as plain types."""
        return {**self._warmup, "calls_per_sample": self.calls_per_sample}

    def take(self, duration_s: float) -> sampling.Nanoseconds:
        """Time calls for so long, and return those after it has settled; one at least."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            ns = sampling.take(self._batches, self._synchronize, duration_s)
        finally:
            if collecting:
                gc.enable()
        settled = ns[min(len(ns) - 1, math.ceil(len(ns) * SETTLE_SHARE)) :]
        return np.rint(settled / self.calls_per_sample).astype(np.int64)
