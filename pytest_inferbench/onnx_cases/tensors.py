"""Arrays as they are kept and sent, and how near two of them are. Pure: knows no case, no worker.

What numpy has no dtype for travels in a carrier of plain integers beside the name of its type, text
as numpy's own text. Nearness is what the runner of the `onnx` package takes it to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.carried import as_numbers

Array = npt.NDArray[Any]

TEXT = "string"
_BFLOAT16_RTOL = 2**-6  # two units in the last place, as onnx's own runner allows
_CARRIERS = {"int4": np.int8, "int2": np.int8, "uint4": np.uint8, "uint2": np.uint8}


def packed(value: Any) -> tuple[Array, str]:
    """Return an array fit to be sent, and the name of its type."""
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        texts = [x.decode() if isinstance(x, bytes) else str(x) for x in array.reshape(-1)]
        return np.array(texts, dtype=np.str_).reshape(array.shape), TEXT
    name = array.dtype.name
    if array.dtype.isbuiltin == 1:  # ml_dtypes' have kinds and names of numpy's, and are not
        return array, name
    if name in _CARRIERS:
        return array.astype(_CARRIERS[name]), name
    carrier = {1: np.uint8, 2: np.uint16}[array.dtype.itemsize]
    return np.ascontiguousarray(array).view(carrier).reshape(array.shape), name


def cannot_compare(type_name: str) -> str:
    """Return why values of a type cannot be compared here; empty where they can."""
    if _is_plain(type_name) or type_name == "bfloat16":
        return ""
    try:
        import ml_dtypes
    except ImportError:
        return f"{type_name} cannot be read: ml_dtypes is not installed (a newer onnx brings it)"
    lacks = f"{type_name} cannot be read: ml_dtypes {ml_dtypes.__version__} does not know it"
    return "" if hasattr(ml_dtypes, type_name) else lacks


@dataclass(frozen=True)
class Mismatch:
    """How an output differs from what was expected.

    Attributes:
        text: What differs, in words.
        max_error: The largest difference, where there is one to be had.
    """

    text: str
    max_error: float | None = None


def compare(
    expected: Array, expected_type: str, actual: Array, actual_type: str, rtol: float, atol: float
) -> Mismatch | None:
    """Return how an output differs from the expected one by more than the tolerance, if it does."""
    if actual.shape != expected.shape:
        return Mismatch(f"its shape is {list(actual.shape)}, not {list(expected.shape)}")
    if actual_type != expected_type:
        return Mismatch(f"its type is {actual_type}, not {expected_type}")
    if expected_type == TEXT:
        differs = np.asarray(actual, np.str_) != np.asarray(expected, np.str_)
        return Mismatch(f"{_share(differs)} texts differ") if differs.any() else None
    if expected_type == "bfloat16":
        rtol = max(rtol, _BFLOAT16_RTOL)
    got, want = _numbers(actual, actual_type), _numbers(expected, expected_type)
    with np.errstate(all="ignore"):
        near = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
        if near.all():
            return None
        apart = np.abs(got.astype(_wide(got)) - want.astype(_wide(want)))
    finite = apart[np.isfinite(apart)]
    max_error = float(finite.max()) if finite.size else None
    beside = "" if max_error is None else f", by {max_error:.4g} at most"
    lost = ~near & ~np.isfinite(apart)
    if lost.any():
        beside += f"; {np.count_nonzero(lost)} where one of the two is not finite"
    return Mismatch(f"{_share(~near)} values differ{beside}", max_error)


def _share(differs: Array) -> str:
    return f"{np.count_nonzero(differs)} of {differs.size}"


def _wide(array: Array) -> type[np.generic]:
    return np.complex128 if array.dtype.kind == "c" else np.float64


def _numbers(carrier: Array, type_name: str) -> Array:
    """Return what a carrier's integers stand for."""
    if _is_plain(type_name) or type_name == "bfloat16" or type_name.startswith("float8"):
        return as_numbers(carrier, type_name)
    import ml_dtypes

    values: Array = carrier.view(getattr(ml_dtypes, type_name)).astype(np.float32)
    return values


def _is_plain(type_name: str) -> bool:
    """Whether an array or carrier of a type holds its values as they are."""
    if type_name in _CARRIERS or type_name == TEXT:
        return True
    try:
        return np.dtype(type_name).isbuiltin == 1  # ml_dtypes' are known by name once imported
    except TypeError:
        return False
