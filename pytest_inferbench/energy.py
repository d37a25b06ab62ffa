"""What a test holds for power and energy: figures over fresh workers, with their judgements.

As `timing.py`, whose launches it shares; what reads the figures is `measure/watcher.py`.
"""

from __future__ import annotations

from pytest_inferbench.launches import median_of, told
from pytest_inferbench.timing import RunsHandle


class Energy(RunsHandle):
    """What the device draws while it is sampled, and for one inference."""

    kind = "energy"
    metrics = ("power", "energy")

    @property
    def watts(self) -> float | None:
        """The mean power of the device: the median over the runs; None if it cannot be read."""
        return median_of(self._launches, "watts")

    @property
    def joules_per_inference(self) -> float | None:
        """The energy of one inference: the median over the runs; None if it cannot be read."""
        return median_of(self._launches, "joules")

    def figures(self) -> dict[str, float]:
        """Power and energy, where they can be read."""
        if self._beside is not None:
            return self._figures_beside()
        return {
            **told("watts", self.watts),
            **told("joules_per_inference", self.joules_per_inference),
        }
