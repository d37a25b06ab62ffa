"""Calibration samples: takes arrays, checks that they fit the model, and hands them on one by one.

The interface is ONNX Runtime's `CalibrationDataReader`, without its package. Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]


class Samples:
    """Feeds calibration samples, each input stacked on a leading axis of samples.

    Args:
        source: The model, for messages.
        inputs: The names that the model takes.
        calibration: Arrays by input.
        precision: What is calibrated for, for messages.

    Raises:
        InferbenchError: IB-430 there are none; IB-431 they do not fit the inputs.
    """

    def __init__(
        self, source: Path, inputs: set[str], calibration: Mapping[str, Array], precision: str
    ) -> None:
        self._arrays = dict(calibration)
        lengths = {len(array) if array.ndim else 0 for array in self._arrays.values()} or {0}
        if 0 in lengths:
            raise InferbenchError(
                "IB-430",
                f"there are no calibration samples for {source.name}, and {precision} needs some",
                "Set the model's `calibration` to a folder that has samples.",
            )
        if inputs != set(calibration) or len(lengths) > 1:
            given = ", ".join(f"{len(array)} of {name}" for name, array in calibration.items())
            raise InferbenchError(
                "IB-431",
                f"the calibration samples do not fit {source.name}: there are {given}, and the"
                f" model takes {', '.join(sorted(inputs))}",
                "Give every input as many samples as the others.",
            )
        for name, array in self._arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InferbenchError(
                    "IB-431", f"calibration samples of the input {name!r} hold NaN or infinity"
                )
        self._length = lengths.pop()
        self.set_range(0, self._length)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Yield every sample, wherever `get_next` is."""
        return ({name: a[i, ...] for name, a in self._arrays.items()} for i in range(self._length))

    def set_range(self, start_index: int, end_index: int) -> None:
        """Start anew with some of the samples."""
        self._order = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Array] | None:
        """Return the next sample, or None behind the last."""
        index = next(self._order, None)
        return None if index is None else {name: a[index, ...] for name, a in self._arrays.items()}
