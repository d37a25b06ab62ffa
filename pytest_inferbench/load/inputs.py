"""What clients send: takes a model's inputs and a plan, gives samples of arrays.

Drawn inputs depend on nothing but the seed. A file holds an array for each input: of the model's
own rank, with samples along its free first dimension, or with one more dimension in front.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from pytest_inferbench.load.tensors import Array

    Sample = dict[str, Array]


def samples_for(specs: Sequence[TensorSpec], plan: LoadPlan, count: int) -> list[Sample]:
    """Return at most this many different inputs.

    Raises:
        InferbenchError: The file does not fit (IB-833), or shapes are left open (IB-832).
    """
    if plan.inputs is not None:
        return _from_file(plan.inputs, specs, plan.batch)[:count]
    return _drawn(specs, plan, count)


def expected_from(path: Path, specs: Sequence[TensorSpec], batch: int) -> list[Sample]:
    """Return what answers must be, one for each of the inputs in order.

    Raises:
        InferbenchError: The file does not fit the model's outputs (IB-833).
    """
    return _from_file(path, specs, batch)


def unlike(answer: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float) -> str:
    """Return how an answer differs from the expected one, in a few words; "" if it does not."""
    import numpy as np

    for name, wanted in expected.items():
        got = answer.get(name)
        if got is None:
            return f"output {name!r} is missing"
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            return f"output {name!r} is {got.dtype} of {got.shape}"
        if wanted.dtype.kind not in "fc":
            if not np.array_equal(got, wanted):
                return f"output {name!r} differs"
            continue
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        finite = b[np.isfinite(b)]
        allowed = tolerance * float(np.abs(finite).max(initial=0.0))
        if not np.allclose(a, b, rtol=0, atol=allowed, equal_nan=True):
            return f"output {name!r} differs"
    return ""


def _drawn(specs: Sequence[TensorSpec], plan: LoadPlan, count: int) -> list[Sample]:
    import numpy as np

    strangers = sorted(set(plan.shapes) - {spec.name for spec in specs})
    if strangers:
        raise InferbenchError(
            "IB-832",
            f"shapes are given for {', '.join(strangers)}, which the model does not have",
            f"Its inputs are {', '.join(spec.name for spec in specs)}.",
        )
    draw = np.random.default_rng(plan.seed)
    shapes = {spec.name: _shape(spec, plan) for spec in specs}
    return [
        {spec.name: _values(spec, shapes[spec.name], draw) for spec in specs} for _ in range(count)
    ]


def _shape(spec: TensorSpec, plan: LoadPlan) -> tuple[int, ...]:
    given = plan.shapes.get(spec.name)
    if given is not None:
        return tuple(given)
    shape = list(spec.shape)
    if shape and shape[0] < 0:
        shape[0] = plan.batch
    if any(size < 0 for size in shape):
        raise InferbenchError(
            "IB-832",
            f"input {spec.name!r} has the open shape {list(spec.shape)}: its size is not known",
            f"Give one, as in --input-shape {spec.name}="
            f"{','.join(str(size if size >= 0 else 16) for size in shape)}, or a file of inputs.",
        )
    return tuple(shape)


def _values(spec: TensorSpec, shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    import numpy as np

    if spec.datatype == "BYTES":
        words = np.empty(shape, object)
        words.ravel()[:] = [b"%x" % int(draw.integers(1 << 32)) for _ in range(words.size)]
        return words
    if spec.datatype == "BF16":
        bits = draw.standard_normal(shape, np.float32).view(np.uint32) >> 16
        return bits.astype(np.uint16)
    dtype = spec.dtype
    if dtype.kind == "f":
        return draw.standard_normal(shape).astype(dtype)
    # Small integers are tokens, indices or pixels of most models; large ones are of few.
    return draw.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)


def _from_file(path: Path, specs: Sequence[TensorSpec], batch: int) -> list[Sample]:
    arrays = _read(path, specs)
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        raise _misfit(path, f"it holds no {', '.join(missing)}, but {', '.join(arrays)}")
    split = {spec.name: _split(path, spec, arrays[spec.name], batch) for spec in specs}
    counts = {name: len(each) for name, each in split.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise _misfit(path, f"it holds unequal numbers of samples: {counts}")
    (count,) = set(counts.values())
    return [{name: each[at] for name, each in split.items()} for at in range(count)]


def _read(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    import numpy as np

    try:
        read: Any = np.load(path, allow_pickle=False)
        if isinstance(read, np.ndarray):
            if len(specs) != 1:
                raise _misfit(path, f"one array for {len(specs)} inputs; use an .npz file")
            return {specs[0].name: read}
        with read:
            return {name: read[name] for name in read.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _misfit(path, f"it cannot be read: {error}") from None


def _split(path: Path, spec: TensorSpec, array: Array, batch: int) -> list[Array]:
    import numpy as np

    if spec.datatype != "BYTES":
        if array.dtype != spec.dtype:
            raise _misfit(path, f"{spec.name!r} is {array.dtype}, not {spec.dtype}")
    elif array.dtype.kind not in "SU":
        raise _misfit(path, f"{spec.name!r} is {array.dtype}, not text")
    if array.ndim == len(spec.shape) + 1:
        samples = list(array)
    elif array.ndim != len(spec.shape):
        raise _misfit(path, f"{spec.name!r} has rank {array.ndim}, the model's {len(spec.shape)}")
    elif spec.shape and spec.shape[0] < 0:
        whole = range(0, len(array) - batch + 1, batch)
        samples = [array[at : at + batch] for at in whole]
    else:
        samples = [array]
    for sample in samples:
        fits = all(want in (-1, size) for want, size in zip(spec.shape, sample.shape, strict=True))
        if not fits:
            raise _misfit(path, f"{spec.name!r} has {sample.shape}, the model's {spec.shape}")
    return [np.ascontiguousarray(sample) for sample in samples]


def _misfit(path: Path, why: str) -> InferbenchError:
    return InferbenchError("IB-833", f"{path} does not fit the model: {why}")
