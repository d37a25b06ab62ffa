"""Where nodes ran and what they computed in: takes a profile's events, gives facts; pure.

The runtime tells the assignment of nodes when it parts a graph among providers, before its last
optimisations; its profile tells the nodes that ran, with the types of their tensors. A provider
that compiles its part of the graph is one node there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.ort_providers import CPU, CUDA

_KERNEL = "_kernel_time"
_COPIES = frozenset({"MemcpyToHost", "MemcpyFromHost"})
_BY_KERNEL = frozenset({CPU, CUDA})  # providers that compute in the types of their tensors
_QUANTIZED = re.compile(r"^(QLinear|QGemm|QAttention|DynamicQuantize|QMoE)|Integer")
_TF32 = re.compile(r"Conv|MatMul|Gemm|Attention")
_TYPES = {
    "float": "fp32",
    "double": "fp64",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "uint8": "int8",
}
_SMALL = 64  # values: shapes, axes and bounds of slices have no more
_INTEGERS = frozenset({"int64", "int32", "bool"})
# These compute nothing: they move, rename or convert.
_MOVES = frozenset(
    {"Cast", "CastLike", "Identity", "QuantizeLinear", "DequantizeLinear", "Dropout"}
    | {"Concat", "QLinearConcat", "Split", "SplitToSequence", "Slice", "Pad", "Tile", "Expand"}
    | {"Gather", "GatherElements", "GatherND", "ConstantOfShape", "Shape", "Size"}
    | {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "SpaceToDepth", "DepthToSpace"}
    | {"ReorderInput", "ReorderOutput"}
    | _COPIES
)


@dataclass(frozen=True)
class Node:
    """A node as it ran, or as it was assigned.

    Attributes:
        name: Its name.
        op: Its operator.
        provider: Who ran it.
        takes: Types and shapes of its inputs, where the profile told them.
        gives: The same of its outputs.
    """

    name: str
    op: str
    provider: str
    takes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    gives: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def is_shape_arithmetic(self) -> bool:
        """Whether it only works on shapes, which the runtime keeps on the CPU on purpose."""
        return bool(self.gives) and all(
            kind in _INTEGERS and len(shape) <= 1 and math.prod(shape) <= _SMALL
            for kind, shape in self.gives
        )

    @property
    def precision(self) -> str | None:
        """What it computes in, or None if it computes nothing or that cannot be told."""
        if self.op in _MOVES or self.is_shape_arithmetic:
            return None
        kinds = [kind for kind, _ in self.takes]
        if _QUANTIZED.search(self.op) or not {"int8", "uint8"}.isdisjoint(kinds):
            return "int8"
        floats = (k for k in kinds if k.startswith(("float", "bfloat", "double")))
        first = next(floats, "")
        return _TYPES.get(first) or ("fp8" if first.startswith("float8") else None)


def nodes_of(profile: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Return each node of a profile once, however often it ran."""
    seen: dict[tuple[str, str], Node] = {}
    for event in profile:
        arguments = event.get("args", {})
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(_KERNEL) or "provider" not in arguments:
            continue
        key = (name, str(arguments.get("node_index", "")))
        seen[key] = Node(
            name.removesuffix(_KERNEL),
            str(arguments.get("op_name", "")),
            str(arguments["provider"]),
            _tensors(arguments.get("input_type_shape", ())),
            _tensors(arguments.get("output_type_shape", ())),
        )
    return list(seen.values())


def assigned(nodes: Sequence[Node], provider: str) -> dict[str, Any]:
    """Return what an assignment proves; of nodes elsewhere it cannot tell which only do shapes."""
    counts = Counter(node.provider for node in nodes)
    facts: dict[str, Any] = {"placement": dict(sorted(counts.items()))}
    if not set(counts) - {provider}:
        facts["fallback"] = []
    return facts


def assigned_in(session: Any, provider: str) -> dict[str, Any]:
    """Return what a session's assignment proves; nothing of a runtime too old to tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return {}
    parts = ((part.ep_name, node) for part in tell() for node in part.get_nodes())
    return assigned([Node(node.name, node.op_type, name) for name, node in parts], provider)


def executed(nodes: Sequence[Node], provider: str, precision: str) -> dict[str, Any]:
    """Return what a profile tells.

    Args:
        nodes: Those that ran.
        provider: The one that was asked for.
        precision: The one that was asked for; at tf32, CUDA's fp32 products are in TF32.
    """
    computing = [node for node in nodes if node.op not in _COPIES]
    counts = Counter(node.provider for node in computing)
    elsewhere = [n for n in computing if n.provider != provider and not n.is_shape_arithmetic]
    facts: dict[str, Any] = {
        "placement": dict(sorted(counts.items())),
        "fallback": [{"node": n.name, "op": n.op, "provider": n.provider} for n in elsewhere],
        "memcpy_nodes": len(nodes) - len(computing),
    }
    if provider in _BY_KERNEL:
        facts |= _precisions(computing, precision)
    return facts


def _precisions(nodes: Sequence[Node], asked: str) -> dict[str, Any]:
    found = []
    for node in nodes:
        kind = node.precision
        is_product = asked == "tf32" and node.provider == CUDA and _TF32.search(node.op)
        if kind:
            found.append("tf32" if kind == "fp32" and is_product else kind)
    counts = dict(sorted(Counter(found).items()))
    if not counts or asked in counts:
        return {"precisions": counts}
    ran = ", ".join(f"{number} in {kind}" for kind, number in counts.items())
    sentence = f"no node computes in {asked}: {ran}; {asked} is only how values are stored"
    return {"precisions": counts, "emulated": sentence}


def _tensors(described: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((kind, tuple(shape)) for each in described for kind, shape in each.items())
