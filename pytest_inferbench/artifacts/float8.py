"""Float8 from int8: takes a symmetric Q/DQ graph and its float model, and makes it float8.

ONNX Runtime's own float8 quantization knows one calibration only, by standard deviation, which
cuts off what lies beyond 4.5 of them. The ranges that int8 was calibrated with serve as well: what
was stored as 127 is stored as 448, the largest float8. Runs in the worker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts.graph_facts import MOVES

_LARGEST_INT8 = 127.0
_LARGEST = 448.0
_STORED = "_quantized"  # what ONNX Runtime appends to the name of a quantized weight


def to_float8(model: Any, original: Any) -> None:
    """Change a graph of signed, symmetric Q/DQ pairs to float8 (E4M3FN), in place.

    Args:
        model: The quantized model, its weights loaded.
        original: The model that was quantized, its weights loaded: they are rounded once, not
            by way of int8.
    """
    from onnx import TensorProto, numpy_helper

    _keep_limits(model.graph)
    constants = {each.name: each for each in model.graph.initializer}
    floats = {each.name: each for each in original.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    axes = {n.input[0]: _axis(n) for n in pairs if n.op_type == "DequantizeLinear"}
    scales = {n.input[0]: n.input[1] for n in pairs}
    for name in {node.input[1] for node in pairs}:
        scale = numpy_helper.to_array(constants[name]) * (_LARGEST_INT8 / _LARGEST)
        constants[name].CopyFrom(numpy_helper.from_array(scale.astype(np.float32), name))
    for name in {node.input[2] for node in pairs}:
        dims = list(constants[name].dims)
        constants[name].CopyFrom(_tensor(name, np.zeros(dims, np.float32)))
    for name, scale_name in scales.items():
        if name in constants:
            values = numpy_helper.to_array(floats[name.removesuffix(_STORED)])
            scale = _along(numpy_helper.to_array(constants[scale_name]), values.ndim, axes[name])
            constants[name].CopyFrom(_tensor(name, values / scale))
    for value in model.graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            value.type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN


def _keep_limits(graph: Any) -> None:
    """Write the Relus and Clips that are quantized as Max and Min.

    ONNX Runtime's optimizer (seen in 1.32) drops a Relu before a QuantizeLinear whose zero point is
    the lowest value of its type, and takes that to be so for every float8; of a Clip there, it says
    that it does not know the type, and the graph cannot be opened.
    """
    from onnx import numpy_helper

    quantized = _moved_into_quantizers(graph)
    zero, nodes = _unused(graph, "relu_zero"), []
    for node in graph.node:
        if node.op_type == "Relu" and node.output[0] in quantized:
            nodes += _limits(node, [zero])
        elif node.op_type == "Clip" and node.output[0] in quantized:
            nodes += _limits(node, list(node.input[1:]))
        else:
            nodes.append(node)
    if any(zero in node.input for node in nodes):
        graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), zero))
    del graph.node[:]
    graph.node.extend(nodes)


def _moved_into_quantizers(graph: Any) -> set[str]:
    """Return the tensors that are quantized, perhaps after they were moved or pooled."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "QuantizeLinear":
            found.add(node.input[0])
        elif node.op_type in MOVES | {"MaxPool"} and found.intersection(node.output):
            found.update(node.input)
    return found


def _limits(node: Any, limits: list[str]) -> list[Any]:
    from onnx import helper

    ops = [(op, limit) for op, limit in zip(("Max", "Min"), limits, strict=False) if limit]
    made, last = [], node.input[0]
    for op, limit in ops:
        output = node.output[0] if op == ops[-1][0] else f"{node.output[0]}_{op}"
        made.append(helper.make_node(op, [last, limit], [output], name=f"{node.name}/{op}"))
        last = output
    return made or [node]


def _unused(graph: Any, name: str) -> str:
    taken = {each for node in graph.node for each in (*node.input, *node.output)}
    while name in taken:
        name += "_"
    return name


def _axis(node: Any) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "axis"), 1)


def _along(scale: npt.NDArray[Any], ndim: int, axis: int) -> npt.NDArray[Any]:
    if not scale.ndim:
        return scale
    return scale.reshape([-1 if each == axis % ndim else 1 for each in range(ndim)])


def _tensor(name: str, values: npt.NDArray[Any]) -> Any:
    """Return a tensor of float8, rounded to nearest and cut at its largest value."""
    from ml_dtypes import float8_e4m3fn  # comes with onnx
    from onnx import TensorProto

    stored = np.clip(values, -_LARGEST, _LARGEST).astype(float8_e4m3fn)
    return TensorProto(
        name=name,
        data_type=TensorProto.FLOAT8E4M3FN,
        dims=values.shape,
        raw_data=stored.tobytes(),
    )
