"""What a graph computes in: takes a parsed ONNX model, gives counts and names; changes nothing.

A node's precision is that of the tensors it reads: a Conv whose data and weights come from
DequantizeLinear is one of int8, whatever a runtime makes of it. Runs in the worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_inferbench.artifacts.graph_files import subgraphs


def words(text: str) -> frozenset[str]:
    """Return the operators that a text lists."""
    return frozenset(text.split())


WEIGHTED = words("Conv ConvTranspose Gemm MatMul")
"""Operators that do most of a network's work, and have weights."""

MOVES = words(
    """Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Pad Reshape
    ReverseSequence ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile Transpose
    Unsqueeze"""
)
"""Operators that move values and compute none."""

NO_COMPUTE = MOVES | {
    *("Cast", "CastLike", "Constant", "ConstantOfShape", "DequantizeLinear", "QuantizeLinear"),
    *("If", "Loop", "Scan", "Shape", "Size"),
}
# How many inputs tell what a node computes in: a bias is added to the sums, scales are no data.
_DECISIVE = {**dict.fromkeys(WEIGHTED, 2), "Clip": 1, "Resize": 1}
_NAMES = {
    "FLOAT": "fp32",
    "FLOAT16": "fp16",
    "BFLOAT16": "bf16",
    "DOUBLE": "fp64",
    "INT8": "int8",
    "UINT8": "int8",
    "FLOAT8E4M3FN": "fp8",
    "FLOAT8E5M2": "fp8",
}
_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")


def counts(model: Any) -> dict[str, Any]:
    """Count the nodes, altogether and by type."""
    ops = Counter(node.op_type for node in model.graph.node)
    return {"nodes": len(model.graph.node), "ops": dict(sorted(ops.items()))}


def tail(nodes: Iterable[Any]) -> list[str]:
    """Return the names of the nodes behind the last layer with weights; none without weights."""
    ahead: set[str] = set()  # tensors from which a layer with weights can still be reached
    names = []
    for node in reversed(list(nodes)):
        if node.op_type in WEIGHTED or ahead.intersection(node.output):
            ahead.update(node.input)
        else:
            names.append(node.name)
    return names if ahead else []


def quantized_ops(model: Any) -> dict[str, int]:
    """Count, by type, the operators that read quantized data."""
    dequantized = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    ops = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type != "QuantizeLinear" and dequantized.intersection(node.input)
    )
    return dict(sorted(ops.items()))


def precisions(model: Any) -> dict[str, int]:
    """Count the nodes that compute on floating-point or quantized data, by precision."""
    import onnx

    # Types alone are wanted: a model too large to be handed over has them in its value infos.
    if model.ByteSize() < (1 << 30):
        model = onnx.shape_inference.infer_shapes(model)
    found = Counter(_graph_precisions(model.graph, {}))
    return dict(sorted(found.items()))


def types_of(graph: Any) -> dict[str, int]:
    """Return the element types that a graph declares for its tensors, by name."""
    declared = {
        value.name: int(value.type.tensor_type.elem_type)
        for values in (graph.value_info, graph.input, graph.output)
        for value in values
        if value.type.HasField("tensor_type")
    }
    return declared | {each.name: int(each.data_type) for each in graph.initializer}


def _graph_precisions(graph: Any, outer: Mapping[str, str]) -> Iterator[str]:
    from onnx import TensorProto

    types = {**outer, **{name: TensorProto.DataType.Name(t) for name, t in types_of(graph).items()}}
    stored: dict[str, str] = {}  # what a dequantized tensor was stored as
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            stored[node.output[0]] = types.get(node.input[0], "")
        for inner in subgraphs(node):
            yield from _graph_precisions(inner, types)
        if node.op_type in NO_COMPUTE:
            continue
        reads = node.input[: _DECISIVE.get(node.op_type, len(node.input))]
        floats = [name for name in reads if types.get(name) in _FLOATS]
        floats = floats or [name for name in node.output if types.get(name) in _FLOATS]
        kinds = {_name(stored.get(name) or types[name]) for name in floats}
        if len(kinds) > 1:  # beside quantized data some that is not: it computes in the latter
            kinds = {_name(types[floats[0]])}
        yield from kinds


def _name(kind: str) -> str:
    return _NAMES.get(kind, kind.lower())
