"""Examinations of an open backend, inside the worker: takes it and inputs, gives what was found.

What crosses the process boundary is always contiguous, writable and alone, so whether a backend
minds memory layouts, keeps its outputs to itself or mixes up threads can only be seen from here.
Each examination returns faults as text; none means that it passed. Knows no runtime and no budget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.backends.contract import Backend
from pytest_inferbench.measure import memory

Array = npt.NDArray[Any]
Sample = Mapping[str, Array]

_SETTLED, _FEWEST = 5, 20
_REPEATS = 8  # calls a thread makes: enough to overlap with the others'


def layouts(backend: Backend, samples: Sequence[Sample]) -> list[str]:
    """Give the same values in other memory layouts: the outputs must be the same to the bit."""
    sample = samples[0]
    expected = backend.infer(sample)
    faults = []
    for layout, arrange in _LAYOUTS.items():
        arranged = {name: arrange(array) for name, array in sample.items()}
        before = {name: array.copy() for name, array in arranged.items()}
        got = backend.infer(arranged)
        faults += [f"{layout} inputs: {fault}" for fault in _differences(expected, got)]
        faults += [
            f"{layout} inputs: the backend wrote to its input {name!r}"
            for name, array in arranged.items()
            if not _same(array, before[name])
        ]
    return faults


def ownership(backend: Backend, samples: Sequence[Sample]) -> list[str]:
    """Keep outputs over the next call, and write to them: neither may change anything."""
    first = backend.infer(samples[0])
    kept = {name: array.copy() for name, array in first.items()}
    backend.infer(samples[-1])
    faults = [f"after the next call: {fault}" for fault in _differences(kept, first)]
    for name, array in first.items():
        if not array.flags.writeable:
            faults.append(f"the output {name!r} cannot be written to")
        elif array.dtype.kind in "fiub":
            array[...] = 0
    again = backend.infer(samples[0])
    return faults + [
        f"after its earlier outputs were written to: {fault}" for fault in _differences(kept, again)
    ]


def threads(backend: Backend, samples: Sequence[Sample], count: int, tolerance: float) -> list[str]:
    """Infer from several threads at once, each with an input of its own."""
    inputs = [samples[index % len(samples)] for index in range(count)]
    expected = [backend.infer(sample) for sample in inputs]
    faults: list[str] = []
    together = threading.Barrier(count)

    def work(index: int) -> None:
        try:
            together.wait()
            for _ in range(_REPEATS):
                got = backend.infer(inputs[index])
                found = _differences(expected[index], got, tolerance)
                if found:
                    faults.append(f"thread {index + 1} of {count}: {found[0]}")
                    return
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is what was found
            faults.append(f"thread {index + 1} of {count}: {type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return faults


def reopening(
    open_one: Callable[[], Backend], sample: Sample, times: int, budget_s: float
) -> tuple[float, int]:
    """Open, infer and close over and over.

    Args:
        open_one: Opens the artifact.
        sample: What to run it on.
        times: How often.
        budget_s: How long at most, once `_FEWEST` times are done.

    Returns:
        The MiB gained after the first few, and how often it was.
    """
    before_mib, started = 0.0, time.monotonic()
    for turn in range(times):
        if turn == _SETTLED:  # pools and caches have filled by then
            before_mib = memory.rss_mib()
        backend = open_one()
        backend.infer(sample)
        backend.close()
        if turn + 1 >= _FEWEST and time.monotonic() - started > budget_s:
            break
    return memory.rss_mib() - before_mib, turn + 1


def _strided(array: Array) -> Array:
    """Every second element of a larger array: contiguous in no direction."""
    wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2), array.dtype) if array.ndim else array
    view = wide[..., ::2] if array.ndim else array.copy()
    view[...] = array
    return view


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _reversed(array: Array) -> Array:
    """Laid out backwards in memory, so that its strides are negative."""
    every = tuple(slice(None, None, -1) for _ in array.shape)
    return array[every].copy()[every]


_LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "strided": _strided,
    "Fortran-ordered": np.asfortranarray,
    "reversed": _reversed,
    "read-only": _read_only,
}


def _differences(expected: Sample, got: Sample, tolerance: float = 0.0) -> list[str]:
    return list(_each_difference(expected, got, tolerance))


def _each_difference(expected: Sample, got: Sample, tolerance: float) -> Iterator[str]:
    for name, want in expected.items():
        have = got[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            yield f"{name} is {have.dtype} {have.shape}, not {want.dtype} {want.shape}"
        elif not _same(want, have) and relative_error(want, have) > tolerance:
            yield f"{name} differs by {relative_error(want, have):.3g} of its largest value"


def _same(one: Array, other: Array) -> bool:
    return one.dtype.kind == "O" or np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def relative_error(want: Array, have: Array) -> float:
    """Return the largest difference as a share of the largest value; infinite if one is NaN."""
    if want.size == 0:
        return 0.0
    if want.dtype.kind not in "fiub":
        return 0.0 if (want == have).all() else float("inf")
    left, right = want.astype(np.float64), have.astype(np.float64)
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = float(np.abs(left[finite]).max()) or 1.0
    return float(np.abs(left[finite] - right[finite]).max()) / scale
