"""Binds a model's data to what its task needs: inputs to run, calibration arrays, and a score.

Takes a model's settings and facts; gives arrays and scores. Knows neither workers nor budgets.
Everything is loaded on first use and kept for the cells of the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_inferbench.accuracy import data as loading
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.artifacts.inspect import ModelFacts
    from pytest_inferbench.settings.schema import ModelSettings

    Array = npt.NDArray[np.generic]
    Sample = Mapping[str, Array]

_RANDOM_SAMPLES = 16
_SEED = 20260101


class Task(Protocol):
    """What a model is for, as far as a gate must know."""

    @property
    def inputs(self) -> Sequence[Sample]:
        """One mapping of input name to array for every sample."""

    @property
    def data_sha256(self) -> str:
        """What identifies the inputs in cache keys."""

    @property
    def calibration(self) -> Mapping[str, Array]:
        """Input name to samples stacked on a leading axis."""

    @property
    def calibration_sha256(self) -> str:
        """What identifies the calibration samples in cache keys."""
