"""All that is watched beside a measurement: takes a watcher, gives one table of plain fields.

Knows no tolerance: what speaks against a run is `judge/validity.py`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_inferbench.measure.machine import CpuWatch
from pytest_inferbench.measure.watcher import Watcher


class Guard:
    """Watches the machine and the device from its making until `end`."""

    def __init__(self, watcher: Watcher, ours: Iterable[int] = ()) -> None:
        """Begin; `ours` are the pids of workers beside this one, which are no strangers."""
        ours = tuple(ours)
        self._watcher = watcher
        watcher.start(ours)
        self._cpu = CpuWatch(ours=ours)

    def end(self, warmup_s: float = 0.0) -> dict[str, Any]:
        """Return who had the CPU and what was seen; clocks of the warm-up say nothing."""
        seen, shares = self._watcher.stop(warmup_s), self._cpu.shares()
        return {
            "steal_share": shares.steal,
            "other_share": shares.other,
            "seen": seen.as_fields(),
        }
