"""A graph in bf16: takes a typed fp32 ONNX model, changes it in place, gives what stayed and why.

Weights are rounded once, to nearest; inputs and outputs stay fp32. Every tensor is kept as its
producer gives it, and cast once for all who read it otherwise. A node computes in bf16 if its
operator's schema allows it at the model's opset, and the target has the kernel. Where nodes hold
graphs, these are converted inside, and their edges stay fp32. Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts.graph_facts import MOVES, NO_COMPUTE, types_of, words
from pytest_inferbench.artifacts.graph_files import subgraphs

# What ONNX Runtime's CUDA provider has bf16 kernels for (its docs/OperatorKernels.md), and what
# TensorRT-RTX 1.7.1 was seen to refuse in bf16.
_CUDA = words(
    """Abs Add Attention AveragePool Compress Concat Conv Div Dropout Erf Exp Expand Flatten Gather
    GatherElements GatherND Gelu Gemm HardSigmoid HardSwish Identity IsInf IsNaN
    LayerNormalization MatMul Max Min Mod Mul Neg Pow RMSNormalization ReduceSum Relu Reshape
    ReverseSequence RotaryEmbedding ScatterElements ScatterND Sigmoid Sign Slice Softmax Split
    Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where"""
)
_NOT_TENSORRT = words("Celu ConvTranspose GRU HardSwish LpNormalization LpPool Mish")

HIGHEST_OPSET = 22
"""The first opset whose Conv and MaxPool may be bf16."""

_LOWEST_OPSET = 13  # the first that has bf16 in operators that compute
# Positions, ranks and long sums: 8 bits of mantissa cannot tell pixel 511 from 512.
_EXACT = words(
    """ArgMax ArgMin CumSum Equal GridSample Greater GreaterOrEqual Less LessOrEqual Multinomial
    NonMaxSuppression NonZero OneHot Range RoiAlign Round TopK Upsample"""
)
# Reading a shape needs no values, so no cast either.
_ANY_TYPE = ("Shape", "Size")
_ONNX = ("", "ai.onnx")
_BF16 = "tensor(bfloat16)"
_LARGEST = np.array(0x7F7F0000, np.uint32).view(np.float32)


HasKernel = Callable[[str], bool]


def on_cuda(op: str) -> bool:
    """Tell whether ONNX Runtime's CUDA provider has a bf16 kernel for an operator."""
    return op in _CUDA


def on_tensorrt(op: str) -> bool:
    """Tell whether TensorRT has a bf16 kernel for an operator."""
    return op not in _NOT_TENSORRT


def opset_for(graph: Any, opset: int, has_kernel: HasKernel) -> int:
    """Return the lowest opset, from the model's own on, at which its operators may be bf16."""
    ops = {node.op_type for node in _all_nodes(graph) if node.domain in _ONNX}
    wanted = {op for op in ops if has_kernel(op)}
    start = max(opset, _LOWEST_OPSET)
    firsts = (
        next((v for v in range(start, HIGHEST_OPSET + 1) if _takes_bf16(op, v)), start)
        for op in wanted
    )
    return max(firsts, default=start)


def to_bfloat16(
    model: Any, opset: int, keep: Mapping[str, str], has_kernel: HasKernel
) -> list[tuple[str, str]]:
    """Change a model to bf16, in place.

    Args:
        model: An fp32 model with the type of every tensor and a name for every node.
        opset: The version of ONNX's own operators that it asks for.
        keep: Nodes that stay in fp32, with the reason.
        has_kernel: Whether the target has a bf16 kernel for an operator.

    Returns:
        Each operator that computes in fp32 still, with the reason.
    """
    conversion = _Conversion(opset, keep, has_kernel)
    conversion.convert(model.graph, None)
    return conversion.left


def round_to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round to nearest, ties to even; finite values stay finite, as masks of -3.4e38 must."""
    finite = np.isfinite(values)
    safe = np.where(finite, np.clip(values, -_LARGEST, _LARGEST), values).astype(np.float32)
    bits = safe.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    chosen = np.where(finite, rounded, bits | np.where(np.isnan(values), 0x400000, 0))
    return (chosen.astype(np.uint32) >> np.uint32(16)).astype(np.uint16)


class _Scope:
    """A graph while it is converted: which tensors there are, and in which types they exist."""

    def __init__(self, graph: Any, outer: _Scope | None) -> None:
        self.graph, self.outer = graph, outer
        self.types: dict[str, int] = {**(outer.types if outer else {}), **types_of(graph)}
        self.weights = {each.name: each for each in graph.initializer}
        self.outputs = {each.name for each in graph.output}
        self.versions: dict[str, dict[int, str]] = {}
        self.nodes: list[Any] = []

    def owner(self, name: str) -> _Scope | None:
        """Return the nearest scope that knows a tensor."""
        known = name in self.versions or name in self.weights
        return self if known or self.outer is None else self.outer.owner(name)

    def find(self, name: str, wanted: int) -> str | None:
        """Return what a tensor is called in a type, if it exists in it."""
        found = self.versions.get(name, {}).get(wanted)
        return found or (self.outer.find(name, wanted) if self.outer else None)


class _Conversion:
    """One pass over a model."""

    def __init__(self, opset: int, keep: Mapping[str, str], has_kernel: HasKernel) -> None:
        from onnx import TensorProto

        self._opset, self._keep, self._has_kernel = opset, keep, has_kernel
        self._fp32, self._bf16 = int(TensorProto.FLOAT), int(TensorProto.BFLOAT16)
        self._read_as_fp32: set[str] = set()
        self._taken: set[str] = set()  # names of tensors, in whatever graph
        self.left: list[tuple[str, str]] = []

    def convert(self, graph: Any, outer: _Scope | None) -> None:
        scope = _Scope(graph, outer)
        if outer is None:
            self._taken |= _all_names(graph)
        for name in (*scope.weights, *(each.name for each in graph.input)):
            scope.versions[name] = {self._fp32: name}
        for node in graph.node:
            for inner in subgraphs(node):
                self.convert(inner, scope)
            why = self._why_not(node, scope)
            if why and node.op_type not in NO_COMPUTE:
                self.left.append((node.op_type, why))
            self._rewrite(node, scope, half=why is None)
        new = [each for each in scope.weights.values() if self._is_needed(each.name, scope)]
        del graph.initializer[:]
        graph.initializer.extend(new)
        del graph.node[:]
        graph.node.extend(scope.nodes)
        for value in graph.value_info:
            if scope.versions.get(value.name, {}).get(self._bf16) == value.name:
                value.type.tensor_type.elem_type = self._bf16

    def _is_needed(self, name: str, scope: _Scope) -> bool:
        rounded = self._bf16 in scope.versions.get(name, {})
        return not rounded or name in self._read_as_fp32 or name in scope.outputs

    def _why_not(self, node: Any, scope: _Scope) -> str | None:
        """Return why a node stays in fp32, "" where that needs no reason, None for bf16."""
        names = [name for name in (*node.input, *node.output) if name]
        floats = [name for name in node.input if scope.types.get(name) == self._fp32]
        if not any(scope.types.get(name) == self._fp32 for name in names):
            return ""
        reasons = {
            self._keep.get(node.name, ""): node.name in self._keep,
            "is no operator of ONNX's own": node.domain not in _ONNX,
            "the types of its tensors are not known": any(n not in scope.types for n in names),
            "needs exact values": node.op_type in _EXACT,
        }
        why = next((why for why, holds in reasons.items() if holds), None)
        if why is not None or node.op_type in NO_COMPUTE - MOVES or not floats:
            return why or ""
        if not _takes_bf16(node.op_type, self._opset):
            return f"ONNX allows it no bf16 at opset {self._opset}"
        if not self._has_kernel(node.op_type):
            return "the target has no bf16 kernel for it"
        moved = node.op_type in MOVES and not any(self._is_half(name, scope) for name in floats)
        return "" if moved else None  # rounding what is only moved would gain nothing

    def _is_half(self, name: str, scope: _Scope) -> bool:
        owner = scope.owner(name)
        weight = owner is not None and name in owner.weights
        return weight or scope.find(name, self._bf16) is not None

    def _rewrite(self, node: Any, scope: _Scope, half: bool) -> None:
        inputs, outputs = _parameters(node, self._opset) if half else ([], [])
        half_variables = set()
        for index, name in enumerate(node.input):
            if scope.types.get(name) != self._fp32:
                continue
            parameter = inputs[min(index, len(inputs) - 1)] if half else None
            if parameter is not None and _BF16 in parameter.types:
                half_variables.add(parameter.type_str)
                node.input[index] = self._read(name, self._bf16, scope)
            elif node.op_type in _ANY_TYPE:
                node.input[index] = scope.find(name, self._fp32) or self._read(
                    name, self._bf16, scope
                )
            else:
                node.input[index] = self._read(name, self._fp32, scope)
        scope.nodes.append(node)
        for index, name in enumerate(node.output):
            if scope.types.get(name) != self._fp32:
                continue
            parameter = outputs[min(index, len(outputs) - 1)] if half else None
            is_half = parameter is not None and parameter.type_str in half_variables
            node.output[index] = self._write(name, is_half, scope)

    def _read(self, name: str, wanted: int, scope: _Scope) -> str:
        """Return a tensor's name in a type, made by a cast, or by rounding a weight."""
        owner = scope.owner(name) or scope
        found = scope.find(name, wanted)
        if found is None and wanted == self._bf16 and name in owner.weights:
            found = owner.versions[name][wanted] = self._rounded(owner, name)
        if found is None:
            other = self._bf16 if wanted == self._fp32 else self._fp32
            source = scope.find(name, other) or name
            found = self._cast(source, wanted, self._fresh(name, wanted), scope)
            scope.versions.setdefault(name, {})[wanted] = found
            if wanted == self._bf16:
                self._read_as_fp32.add(source)
        if wanted == self._fp32:
            self._read_as_fp32.add(name)
        return found

    def _write(self, name: str, half: bool, scope: _Scope) -> str:
        if not half:
            scope.versions[name] = {self._fp32: name}
            return name
        if name not in scope.outputs:
            scope.versions[name] = {self._bf16: name}
            return name
        made = self._fresh(name, self._bf16)
        scope.versions[name] = {self._bf16: made, self._fp32: name}
        self._cast(made, self._fp32, name, scope)
        return made

    def _rounded(self, owner: _Scope, name: str) -> str:
        from onnx import TensorProto, numpy_helper

        values = numpy_helper.to_array(owner.weights[name])
        made = self._fresh(name, self._bf16)
        owner.weights[made] = TensorProto(
            name=made,
            data_type=self._bf16,
            dims=values.shape,
            raw_data=round_to_bfloat16(values).astype("<u2").tobytes(),
        )
        return made

    def _cast(self, source: str, wanted: int, made: str, scope: _Scope) -> str:
        from onnx import helper

        scope.nodes.append(
            helper.make_node("Cast", [source], [made], name=f"{made}/Cast", to=wanted)
        )
        return made

    def _fresh(self, name: str, wanted: int) -> str:
        made = f"{name}_{'bf16' if wanted == self._bf16 else 'fp32'}"
        while made in self._taken:
            made += "_"
        self._taken.add(made)
        return made


def _takes_bf16(op: str, opset: int) -> bool:
    from onnx import defs

    if not defs.has(op, max_inclusive_version=opset):
        return False
    return any(_BF16 in each.types for each in defs.get_schema(op, opset).inputs)


def _parameters(node: Any, opset: int) -> tuple[list[Any], list[Any]]:
    from onnx import defs

    schema = defs.get_schema(node.op_type, opset)
    return list(schema.inputs), list(schema.outputs)


def _all_names(graph: Any) -> set[str]:
    names = {each.name for each in (*graph.input, *graph.initializer)}
    for node in _all_nodes(graph):
        names.update(node.output)
        for inner in subgraphs(node):
            names.update(each.name for each in (*inner.input, *inner.initializer))
    return names


def _all_nodes(graph: Any) -> Iterator[Any]:
    waiting: list[Iterable[Any]] = [graph.node]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [inner.node for inner in subgraphs(node)]
