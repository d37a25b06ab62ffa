"""What a test holds for memory and cold starts: what a worker takes and how long it takes to begin.

Takes a cell's run; gives figures and judgements from the same fresh launches that latency has.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from pytest_inferbench.judge.verdict import Judgement, judge_absolute
from pytest_inferbench.launches import STAGES, median_of, told
from pytest_inferbench.timing import RunsHandle, not_read

if TYPE_CHECKING:
    from pytest_inferbench.settings.budgets import Budget


class Memory(RunsHandle):
    """What the worker takes and whether it stops growing."""

    kind = "memory"
    metrics = ("memory", "device_memory")

    @property
    def peak_mib(self) -> float:
        """The peak resident memory: the median over the runs."""
        return statistics.median(launch.peak_mib for launch in self._launches)

    @property
    def growth_mib(self) -> float:
        """The least growth of any run: what every run gained."""
        return min(launch.growth_mib for launch in self._launches)

    @property
    def device_peak_mib(self) -> float | None:
        """The most memory held on the device: the median over the runs; None if not told."""
        return median_of(self._launches, "device_mib")

    @property
    def device_growth_mib(self) -> float | None:
        """The least growth on the device of any run; None if not told."""
        grown = [launch.device_growth_mib for launch in self._launches]
        told = [mib for mib in grown if mib is not None]
        return min(told) if told and len(told) == len(grown) else None

    def judgements(self) -> list[Judgement]:
        """Judge the peaks against their baselines and the growths against their limits."""
        judgements = super().judgements()
        if self._beside is not None or not self._launches:
            return judgements
        growth = self._budget("memory_growth")
        if growth is not None:
            judgements.append(judge_absolute(growth, self.growth_mib))
        growth = self._budget("device_memory_growth")
        if growth is not None and self.device_growth_mib is not None:
            judgements.append(judge_absolute(growth, self.device_growth_mib))
        elif growth is not None and growth.origin == "settings":
            judgements.append(not_read(growth, self._launches))
        return judgements

    def figures(self) -> dict[str, float]:
        """Peaks and growths."""
        if self._beside is not None:
            return self._figures_beside()
        if not self._launches:
            return {}
        return {
            "peak_mib": self.peak_mib,
            "growth_mib": self.growth_mib,
            **told("device_peak_mib", self.device_peak_mib),
            **told("device_growth_mib", self.device_growth_mib),
        }

    def _budget(self, metric: str) -> Budget | None:
        """A CPU has no memory of its own to be limited: `memory` is all there is."""
        if metric.startswith("device_") and self._run.cell.device == "cpu":
            return None
        return super()._budget(metric)


class ColdStart(RunsHandle):
    """The time from opening the artifact to the first answer."""

    kind = "cold_start"
    metrics = ("cold_start",)

    @property
    def median_ms(self) -> float:
        """The median over the runs."""
        return statistics.median(launch.cold_start_ms for launch in self._launches)

    def stage_ms(self, stage: str) -> float | None:
        """Return the median of one of `launches.STAGES`, None where no run had it."""
        runs = [each.stages_ms[stage] for each in self._launches if stage in each.stages_ms]
        return statistics.median(runs) if runs else None

    def figures(self) -> dict[str, float]:
        """The cold start and its parts: loading from a cache apart from a fresh build."""
        if figures := self._figures_beside():
            return figures
        if not self._launches:
            return {}
        stages = {
            f"{stage}_ms": figure_ms
            for stage in STAGES
            if (figure_ms := self.stage_ms(stage)) is not None
        }
        return {"cold_start_ms": self.median_ms, **stages}
