"""Small models with known answers: takes a type and a rank, gives an ONNX file's bytes and numpy.

Knows no backend. Dimensions are dynamic, so that one file serves every shape of its rank. ONNX
leaves the overflow of integers undefined, so a probe has a range in which none does. One for a
backend that computes a type in a narrower one has values, and an answer, of that: finite ones and
NaN, for on the way from one to the other what is infinite may saturate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool")
HIGHEST_RANK = 4

ROUNDING: Mapping[str, float] = {
    "fp32": 1e-4,
    "tf32": 1e-2,
    "fp16": 1e-2,
    "bf16": 5e-2,
    "int8": 5e-2,
    "fp8": 1e-1,
}
"""How far two ways to the same figure may lie apart, as a share of the largest value.

Another batch or thread takes another order of summation, and at int8 a value on the edge falls
into the next step.
"""

STEP: Mapping[str, float] = {"float16": 2**-10, "bfloat16": 2**-7}
"""How far apart the neighbours of a value lie that an output of few bits is rounded to."""

_OPSET, _IR = 17, 8  # what every runtime of the last years reads


@dataclass(frozen=True)
class Probe:
    """A model whose answer numpy knows.

    Attributes:
        model: The ONNX file.
        answer: What it must give for an input.
        rounding: By how much, as a share of the largest value.
        draws: Of what type its inputs' values are, whatever type they are handed over in.
        least: The lowest value that it may be given, NaN apart; None where every one may be.
        most: The highest.
    """

    model: bytes
    answer: Callable[[Array], Array]
    rounding: float = 0.0
    draws: str = "float32"
    least: float | None = None
    most: float | None = None


def elementwise(dtype: str, rank: int, narrow: str | None = None) -> Probe:
    """Return a probe that doubles and shifts numbers, and turns truth values round.

    Args:
        dtype: The type of its input and output.
        rank: How many dimensions they have.
        narrow: The type that the backend is known to compute in instead.
    """
    from onnx import helper

    if dtype == "bool":
        nodes = [helper.make_node("Not", ["x"], ["y"])]
        return Probe(_bytes(nodes, dtype, rank), np.logical_not, draws=dtype)
    one, computes = np.ones((), dtype), narrow or dtype
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("Add", ["doubled", "one"], ["y"]),
    ]

    def answer(x: Array) -> Array:
        inside = x.astype(computes)
        return np.asarray(inside + inside + one.astype(computes)).astype(dtype)

    least, most = _span(computes, narrow is not None)
    return Probe(
        _bytes(nodes, dtype, rank, {"one": one}),
        answer,
        {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}.get(computes, 0.0),
        computes,
        least,
        most,
    )


def edges(dtype: str, rank: int, narrow: str | None = None) -> Array:
    """Return an input that holds every value at the edge of what `elementwise` is given."""
    kind = np.dtype(narrow or dtype)
    least, most = _span(kind.name, narrow is not None)
    if dtype == "bool":
        values = np.array([False, True, True])
    elif kind.kind == "f":
        limits = np.finfo(kind)
        ends = [limits.max, limits.min, np.inf, -np.inf] if least is None else [least, most]
        thirds = [1 / 3, -1 / 3]  # of every bit that there is
        values = np.array([0.0, -0.0, 1.0, -1.0, limits.tiny, *thirds, *ends, np.nan], kind)
    else:
        # No float32 holds the last four of an int32, no float64 those of an int64.
        low, high = int(least or 0), int(most or 0)
        values = np.array([0, 1, low, low + 1, high, high - 1, high // 2 - 1], kind)
    if rank == 0:
        values = values[-1:].reshape(())
    else:
        values = values.reshape((1,) * (rank - 1) + values.shape)
    return values.astype(dtype)


def _span(dtype: str, narrowed: bool) -> tuple[float | None, float | None]:
    """Return the values between which twice one, and one more, can be told; None for all."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        whole = np.iinfo(kind)
        return -(-int(whole.min) // 2), (int(whole.max) - 1) // 2
    if kind.kind == "f" and narrowed:
        return float(np.finfo(kind).min / 4), float(np.finfo(kind).max / 4)
    return None, None


def _bytes(
    nodes: list[Any], dtype: str, rank: int, constants: Mapping[str, Array] | None = None
) -> bytes:
    from onnx import helper, numpy_helper

    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = [f"d{axis}" for axis in range(rank)]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    content: bytes = model.SerializeToString()
    return content
