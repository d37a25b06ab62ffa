"""Samples of named arrays, from a folder of .npz files or from the rows of one.

Takes a path; gives samples that are read one at a time, and beside them what the same files say of
each: labels, masks. Knows neither models nor scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, overload

import numpy.typing as npt

from pytest_inferbench.accuracy.data import (
    Sample,
    files_sha256,
    load_tensor_inputs,
    read_npz,
    samples_up_to,
)
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]


class TensorSet(Sequence[Sample]):
    """Samples, of which arrays of reserved names are no inputs.

    Attributes:
        names: What each sample is called, in labels' files and messages.
        data_sha256: What identifies the samples in cache keys.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[int], Sample],
        data_sha256: str,
        reserved: Collection[str],
    ) -> None:
        self.names, self.data_sha256 = tuple(names), data_sha256
        self._read, self._reserved = read, frozenset(reserved)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Read one sample, or several."""
        chosen = range(len(self.names))[index]
        return (
            self._inputs(chosen) if isinstance(chosen, int) else [self._inputs(i) for i in chosen]
        )

    def beside(self, name: str) -> list[Array] | None:
        """Return a reserved array of every sample; None where no sample has it.

        Raises:
            InferbenchError: IB-581 if some have it and some have not.
        """
        if name not in self._reserved:
            return None
        found = [self._read(i).get(name) for i in range(len(self))]
        given = [array for array in found if array is not None]
        if not given:
            return None
        if len(given) != len(found):
            lacking = next(n for n, array in zip(self.names, found, strict=True) if array is None)
            raise InferbenchError(
                "IB-581",
                f"{len(found) - len(given)} of {len(found)} samples have no {name}, the first is"
                f" {lacking}",
                "Give all of them one, or none.",
            )
        return given

    def _inputs(self, index: int) -> Sample:
        return {n: array for n, array in self._read(index).items() if n not in self._reserved}


def load_tensors(path: Path, limit: int | None, reserved: Collection[str] = ()) -> TensorSet:
    """Return the samples of a folder of .npz files, or the rows of one .npz file.

    Args:
        path: A folder, each file in it a sample; or a file whose arrays have a row a sample.
        limit: Take only this many, the first ones.
        reserved: Names of arrays that are no inputs: see `TensorSet.beside`.

    Raises:
        InferbenchError: IB-542 for a folder that is missing or has no .npz; IB-544 for a file that
            is broken, holds no arrays, or whose arrays have different numbers of rows.
    """
    if not path.is_file():
        files = load_tensor_inputs(path, limit)
        names = [file.relative_to(path).as_posix() for file in files.paths]
        return TensorSet(names, files.__getitem__, files.data_sha256, reserved)
    arrays = read_npz(path)
    rows = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise InferbenchError(
            "IB-544",
            f"the arrays of {path} have {', '.join(f'{n} {rows[n]}' for n in rows)} rows: in one"
            " file, each row is a sample",
            "Give all of them as many rows, or write a file a sample into a folder.",
        )
    count = len(samples_up_to(range(next(iter(rows.values()))), limit))

    def row(index: int) -> Sample:
        return {name: array[index : index + 1] for name, array in arrays.items()}

    sha256 = files_sha256([path], f"rows {count} {sorted(reserved)}")
    return TensorSet([str(i) for i in range(count)], row, sha256, reserved)
