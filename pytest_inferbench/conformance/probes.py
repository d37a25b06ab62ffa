"""Small models with known answers: takes a type and a rank, gives an ONNX file's bytes and numpy.

Knows no backend. Dimensions are dynamic, so that one file serves every shape of its rank.
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

_OPSET, _IR = 17, 8  # what every runtime of the last years reads


@dataclass(frozen=True)
class Probe:
    """A model whose answer numpy knows.

    Attributes:
        model: The ONNX file.
        answer: What it must give for an input.
        rounding: By how much, as a share of the largest value.
    """

    model: bytes
    answer: Callable[[Array], Array]
    rounding: float = 0.0


def elementwise(dtype: str, rank: int) -> Probe:
    """Return a probe that doubles and shifts numbers, and turns truth values round."""
    from onnx import helper

    if dtype == "bool":
        nodes = [helper.make_node("Not", ["x"], ["y"])]
        return Probe(_bytes(nodes, dtype, rank), np.logical_not)
    one = np.ones((), dtype)
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("Add", ["doubled", "one"], ["y"]),
    ]
    rounding = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}.get(dtype, 0.0)
    model = _bytes(nodes, dtype, rank, {"one": one})
    return Probe(model, lambda x: (x + x + one).astype(dtype), rounding)


def edges(dtype: str, rank: int) -> Array:
    """Return an input that holds every value at the edge of a type."""
    kind = np.dtype(dtype)
    if dtype == "bool":
        values = np.array([False, True, True])
    elif kind.kind == "f":
        limits = np.finfo(kind)
        special = [0.0, -0.0, 1.0, -1.0, limits.tiny, limits.max, limits.min]
        values = np.array([*special, np.inf, -np.inf, np.nan], kind)
    else:
        span = np.iinfo(kind)
        # No float32 holds the one before the last two, no float64 of an int64.
        values = np.array([0, 1, span.max, span.min, span.max // 2 - 1, span.max // 4 + 1], kind)
    if rank == 0:
        return values[-1:].reshape(())
    return values.reshape((1,) * (rank - 1) + values.shape)


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
