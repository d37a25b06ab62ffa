"""Examinations of an open backend, inside the worker: takes it and inputs, gives what was found.

What crosses the process boundary is always contiguous, writable and alone, so whether a backend
minds memory layouts, keeps its outputs to itself or mixes up threads can only be seen from here.
Each examination returns faults as text; none means that it passed. Knows no runtime and no budget.
"""

from __future__ import annotations

import gc
import sys
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
_REPEATS, _OVERLAP_S = 8, 0.3  # calls a thread makes at least, and for how long
_SWITCH_S = 1e-5  # how long a thread keeps the GIL, so that Python code races as native code does


def layouts(backend: Backend, samples: Sequence[Sample]) -> list[str]:
    """Give the same values in other memory layouts: the outputs must be the same to the bit."""
    sample = samples[0]
    expected = backend.infer(_copied(sample))
    faults = []
    for layout, arrange in _LAYOUTS.items():
        arranged = {name: arrange(array) for name, array in sample.items()}
        try:
            got = backend.infer(arranged)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is what was found
            faults.append(f"{layout} inputs: {type(error).__name__}: {error}")
            continue
        faults += [f"{layout} inputs: {fault}" for fault in _differences(expected, got)]
        faults += [
            f"{layout} inputs: the backend wrote to its input {name!r}"
            for name, array in arranged.items()
            if not _same(array, sample[name])
        ]
    return faults


def ownership(backend: Backend, samples: Sequence[Sample]) -> list[str]:
    """Keep outputs over the next call, and write to them: neither may change anything."""
    one, other = _distinct(samples, 2)
    given = _copied(one)
    first = backend.infer(given)
    kept = _copied(first)
    second = backend.infer(_copied(other))
    faults = [f"after the next call: {fault}" for fault in _differences(kept, first)]
    faults += [
        f"the output {name!r} shares its memory with {words}"
        for name, array in first.items()
        for words, others in (("the next call's", second.values()), ("an input", given.values()))
        if any(np.may_share_memory(array, each) for each in others)
    ]
    for name, array in first.items():
        if not array.flags.writeable:
            faults.append(f"the output {name!r} cannot be written to")
        elif array.dtype.kind in "fc":
            array[...] = np.nan
        elif array.dtype.kind in "iub":
            np.logical_not(array, out=array, casting="unsafe")
    again = backend.infer(_copied(one))
    return faults + [
        f"after its earlier outputs were written to: {fault}" for fault in _differences(kept, again)
    ]


def threads(backend: Backend, samples: Sequence[Sample], count: int, tolerance: float) -> list[str]:
    """Infer from several threads at once, each with an input of its own."""
    inputs = _distinct(samples, count)
    expected = [backend.infer(_copied(sample)) for sample in inputs]
    faults: list[str] = []
    together = threading.Barrier(count)

    def work(index: int) -> None:
        try:
            together.wait()
            until_s, calls = time.monotonic() + _OVERLAP_S, 0
            while not faults and (calls < _REPEATS or time.monotonic() < until_s):
                calls += 1
                got = backend.infer(_copied(inputs[index]))
                found = _differences(expected[index], got, tolerance)
                if found:
                    faults.append(f"thread {index + 1} of {count}: {found[0]}")
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is what was found
            faults.append(f"thread {index + 1} of {count}: {type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        for each in workers:
            each.start()
        for each in workers:
            each.join()
    finally:
        sys.setswitchinterval(before_s)
    return sorted(faults)


def reopening(
    open_one: Callable[[], Backend],
    sample: Sample,
    times: int,
    budget_s: float,
    fewest: int = _FEWEST,
) -> tuple[float, int]:
    """Open, infer and close over and over.

    Args:
        open_one: Opens the artifact.
        sample: What to run it on.
        times: How often, those before it has settled included.
        budget_s: How long at most, once the fewest times are done.
        fewest: How often in any case.

    Returns:
        The MiB gained after the first few, and over how many openings. Both halves of them gained
        as much at least: a leak goes on, and a pool that fills late does not.
    """
    marks: list[tuple[int, float]] = []
    started = time.monotonic()
    for turn in range(times):
        if turn >= _SETTLED and turn % _SETTLED == 0:  # pools and caches have filled by the first
            marks.append((turn, _settled_mib()))
        backend = open_one()
        backend.infer(sample)
        backend.close()
        del backend
        if turn + 1 >= fewest and time.monotonic() - started > budget_s:
            break
    done = turn + 1
    (first, first_mib), (middle, middle_mib) = marks[0], marks[len(marks) // 2]
    each_mib = [(_settled_mib() - middle_mib) / (done - middle)]
    if middle > first:  # of a few openings, as servers have, there is but one half
        each_mib.append((middle_mib - first_mib) / (middle - first))
    return min(each_mib) * (done - first), done - first


def _settled_mib() -> float:
    gc.collect()  # what waits to be collected is not lost
    memory.trim()  # nor is what the allocator keeps for the next time
    return memory.rss_mib()


def _copied(arrays: Sample) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}


def _distinct(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return so many inputs, different from each other as far as numbers can be moved about."""
    found = list(samples[:count])
    while len(found) < count:
        turned = len(found)
        found.append(
            {
                # Whole numbers may be indices, lengths or masks that belong to each other.
                name: np.roll(array, turned) if array.dtype.kind == "f" else array
                for name, array in samples[turned % len(samples)].items()
            }
        )
    return found


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
    "plain": np.copy,
    "strided": _strided,
    "Fortran-ordered": lambda array: np.array(array, order="F"),
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
        elif not _same(want, have) and (error := relative_error(want, have)) > tolerance:
            yield f"{name} {off_by(error)}"


def _same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def off_by(error: float) -> str:
    """Say how far off an output is."""
    if not np.isfinite(error):
        return "is not finite where it was, or of another shape, or other text"
    return f"differs by {error:.3g} of its largest value"


def relative_error(want: Array, have: Array) -> float:
    """Return the largest difference as a share of the largest value of both.

    Nothing but what is the same has an error of 0. It is infinite where the shapes differ, where
    values that are not finite are not the same ones, and where anything but numbers differs.
    """
    if want.shape != have.shape:
        return float("inf")
    numbers = all(array.dtype.kind in "fiub" for array in (want, have))
    if np.array_equal(want, have, equal_nan=numbers):
        return 0.0
    if not numbers:
        return float("inf")
    left, right = want.astype(np.float64), have.astype(np.float64)
    finite = np.isfinite(left) & np.isfinite(right)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return float("inf")
    scale = max(np.abs(left[finite]).max(initial=0.0), np.abs(right[finite]).max(initial=0.0))
    # Scaled first, for a difference of the largest numbers would overflow. Integers that float64
    # cannot tell apart differ all the same.
    error = np.abs(left[finite] / scale - right[finite] / scale).max(initial=0.0) if scale else 0.0
    return float(max(error, np.finfo(np.float64).tiny))
