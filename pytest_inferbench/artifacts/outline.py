"""Graphs in outline: takes ONNX files, gives nodes, types, and what of two can be compared.

Which tensors of a candidate mean which of the reference is told by names and by structure: a tensor
of the same name, or what casts and quantizers made of it, whatever they called that. What only a
quantizer reads is left out, for it need not be what its name says: a Relu may have become part of
the range behind it. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_inferbench.accuracy.divergence import Point
from pytest_inferbench.artifacts.graph_facts import WEIGHTED
from pytest_inferbench.artifacts.graph_files import subgraphs

FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_PASSES_ON = frozenset(
    {"Cast", "QuantizeLinear", "DequantizeLinear", "Identity", "Convert", "FakeQuantize"}
)
_QUANTIZES = frozenset({"QuantizeLinear", "FakeQuantize"})
_QUANTIZED = frozenset({"DequantizeLinear", "FakeQuantize"})
_RENAMED = "_QuantizeLinear_Input"  # what ONNX Runtime calls an output that it quantizes
_Form = tuple[int | None, list[int] | None]

_SMALL_BYTES = 4096  # what is no larger may be a shape


class Graph:
    """Nodes in topological order, and what follows from them alone.

    A node has `op_type`, `name`, and the names of tensors that are its `input` and `output`, as in
    ONNX; other formats are told in the same form.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        node_reads: Sequence[Sequence[str]],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtypes: Mapping[str, str] | None = None,
        closed: Collection[str] = (),
    ) -> None:
        """Take a graph.

        Args:
            nodes: Its nodes, in topological order.
            node_reads: All that each of them reads.
            inputs: Its inputs.
            outputs: Its outputs.
            dtypes: The types of tensors by numpy's names; "" for what is no tensor.
            closed: Tensors that must not be laid open.
        """
        self.closed = frozenset(closed)
        self.nodes, self.reads = nodes, node_reads
        self.inputs, self.outputs = list(inputs), list(outputs)
        self._dtypes = dict(dtypes or {})
        self.made_by = {name: i for i, node in enumerate(nodes) for name in node.output if name}

    @cached_property
    def dtypes(self) -> dict[str, str]:
        """The types that are known, by numpy's names; "" for what is no tensor."""
        return self._dtypes

    @cached_property
    def dynamic(self) -> frozenset[str]:
        """The tensors that depend on the graph's inputs, these included."""
        found = set(self.inputs)
        for node, names in zip(self.nodes, self.reads, strict=True):
            if not found.isdisjoint(names):
                found.update(filter(None, node.output))
        return frozenset(found)

    @cached_property
    def readers(self) -> Mapping[str, list[str]]:
        """The types of the nodes that read each tensor."""
        found: dict[str, list[str]] = {}
        for node, names in zip(self.nodes, self.reads, strict=True):
            for name in names:
                found.setdefault(name, []).append(node.op_type)
        return found

    def label(self, index: int) -> str:
        """Return a node's name, or what stands for it."""
        node = self.nodes[index]
        return str(node.name or f"{node.op_type}_{index}")

    def may_be_float(self, name: str) -> bool:
        """Whether a tensor is of a floating-point type, or of a type that is not known."""
        return name not in self.dtypes or self.dtypes[name] in FLOATS.values()

    def dtype(self, name: str) -> str:
        """Return a tensor's type as numpy calls it; empty where not known."""
        return self.dtypes.get(name, "")

    def until(self, name: str, stops: Collection[str]) -> tuple[list[int], set[str]]:
        """Return the nodes that compute a tensor, back to some others, and which of these."""
        nodes: set[int] = set()
        met: set[str] = set()
        waiting = [name]
        while waiting:
            index = self.made_by.get(waiting.pop())
            if index is None or index in nodes:
                continue
            nodes.add(index)
            for each in self.reads[index]:
                if each in stops:
                    met.add(each)
                elif each in self.dynamic:
                    waiting.append(each)
        return sorted(nodes), met


class Outline(Graph):
    """A parsed ONNX file."""

    def __init__(self, path: Path) -> None:
        """Parse a file, without weights that lie beside it."""
        import onnx

        self.path = path
        self.model = onnx.load(str(path), load_external_data=False)
        graph = self.model.graph
        self.weights = {each.name for each in graph.initializer}
        self.weights |= {each.values.name for each in graph.sparse_initializer}
        nodes = _sorted_nodes(graph.node)
        super().__init__(
            nodes,
            [reads(node) for node in nodes],
            [each.name for each in graph.input if each.name not in self.weights],
            [each.name for each in graph.output],
        )

    @cached_property
    def dtypes(self) -> dict[str, str]:
        """The types that are known, by numpy's names; "" for what is no tensor."""
        return {name: FLOATS.get(kind or 0, "") for name, kind in self.kinds.items()}

    @cached_property
    def kinds(self) -> dict[str, int | None]:
        """The element types that are known; None for what is no tensor."""
        return {name: value[0] for name, value in _inferred(self, {}).items()}

    def learn(self, name: str, dtype: str) -> None:
        """Note a tensor's type that was seen, where it does not follow from the file."""
        if name not in self.kinds:
            self.kinds[name] = next((k for k, known in FLOATS.items() if known == dtype), None)
            self.dtypes[name] = dtype if self.kinds[name] else ""

    def sizes(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return how many elements tensors have when the inputs have these shapes, where known."""
        found = {}
        for name, (_, dims) in _inferred(self, shapes).items():
            if dims is not None:
                count = 1
                for dim in dims:
                    count *= dim
                found[name] = count
        return found


def reads(node: Any) -> list[str]:
    """Return what a node reads, what the graphs that it holds read from outside included."""
    found = list(filter(None, node.input))
    for inner in subgraphs(node):
        own = {each.name for each in (*inner.input, *inner.initializer)}
        own |= {name for each in inner.node for name in each.output}
        found += [name for each in inner.node for name in reads(each) if name not in own]
        found += [each.name for each in inner.output if each.name not in own]
    return list(dict.fromkeys(found))


def meanings(candidate: Graph, reference: Outline) -> dict[str, str]:
    """Return which tensor of the reference each tensor of the candidate means, where it does."""
    known = reference.dynamic
    means = {name: name for name in candidate.inputs if name in known}
    for node in candidate.nodes:
        for name in filter(None, node.output):
            bare = name.removesuffix(_RENAMED)
            if name in known:
                means[name] = name
            elif node.op_type in _PASSES_ON and node.input[0] in means:
                means[name] = means[node.input[0]]
            elif bare in known:
                means[name] = bare
    return means


def points(candidate: Graph, reference: Outline) -> list[Point]:
    """Return what of a candidate can be compared with the reference, in the candidate's order."""
    means = meanings(candidate, reference)
    names = [
        name
        for node in candidate.nodes
        for name in filter(None, node.output)
        if name in means
        and reference.may_be_float(means[name])
        and _is_comparable(candidate, node, name)
    ]
    place = {name: i for i, name in enumerate(names)}
    layers = Layers(reference)
    found = []
    for name in names:
        _, met = candidate.until(name, place)
        op_type = candidate.nodes[candidate.made_by[name]].op_type
        found.append(
            layers.point(
                name,
                means[name],
                parents=tuple(sorted(place[each] for each in met)),
                since={means[each] for each in met},
                dtype=candidate.dtype(name),
                quantized=op_type in _QUANTIZED,
            )
        )
    return found


def _is_comparable(candidate: Graph, node: Any, name: str) -> bool:
    if node.op_type == "QuantizeLinear" or name not in candidate.dynamic:
        return False
    if not candidate.may_be_float(name):
        return False
    readers = candidate.readers.get(name)
    hidden = name in candidate.closed or (readers and _QUANTIZES.issuperset(readers))
    return name in candidate.outputs or not hidden


class Layers:
    """Tells of points which layer of the reference makes them."""

    def __init__(self, reference: Outline) -> None:
        self._reference = reference

    def point(
        self,
        tensor: str,
        means: str,
        *,
        parents: tuple[int, ...],
        since: Collection[str],
        dtype: str,
        quantized: bool,
    ) -> Point:
        """Return a point.

        Args:
            tensor: Its name in the candidate.
            means: The reference's tensor.
            parents: The places of the points that it is computed from.
            since: What those mean.
            dtype: Its type in the candidate.
            quantized: Whether it was quantized.
        """
        outline = self._reference
        nodes: list[int] = []
        if means in outline.made_by and means not in since:
            nodes, _ = outline.until(means, set(since) | set(outline.inputs))
        last = outline.made_by.get(means)
        weighted = [i for i in nodes if outline.nodes[i].op_type in WEIGHTED]
        named = weighted[0] if weighted else last
        return Point(
            tensor=tensor,
            reference=means,
            node=means if named is None else outline.label(named),
            op="input" if named is None else str(outline.nodes[named].op_type),
            depth=0 if last is None else last + 1,
            parents=parents,
            covers=tuple(map(outline.label, nodes)),
            dtype=dtype,
            quantized=quantized,
        )


def _sorted_nodes(nodes: Iterable[Any]) -> list[Any]:
    """Return nodes so that each comes after those it reads from, else in the file's order."""
    waiting = list(nodes)
    made = {name for node in waiting for name in node.output}
    done: set[str] = set()
    ordered: list[Any] = []
    while waiting:
        left = []
        for node in waiting:
            if all(name in done for name in reads(node) if name in made):
                ordered.append(node)
                done.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):  # a loop: no runtime will take it, and it says why
            return ordered + left
        waiting = left
    return ordered


def _inferred(outline: Outline, shapes: Mapping[str, Sequence[int]]) -> dict[str, _Form]:
    """Return the type and, where it is known, the shape of every tensor."""
    import onnx

    light = _without_weights(outline.model, shapes)
    with suppress(Exception):  # whatever onnx raises: what the file itself says is left
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    values = (*light.graph.value_info, *light.graph.input, *light.graph.output)
    return {value.name: _form(value) for value in values if value.type.WhichOneof("value")}


def _without_weights(model: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Return a copy in which large weights have a shape and no values, and inputs these shapes."""
    import onnx

    light = onnx.ModelProto()
    for part in ("opset_import", "functions"):
        getattr(light, part).extend(getattr(model, part))
    light.ir_version = model.ir_version
    source, graph = model.graph, light.graph
    for part in ("node", "input", "output", "value_info"):
        getattr(graph, part).extend(getattr(source, part))
    for each in source.initializer:
        if each.ByteSize() <= _SMALL_BYTES:
            graph.initializer.append(each)
        else:
            graph.initializer.add(name=each.name, data_type=each.data_type, dims=each.dims)
    for value in graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape
            dims.Clear()
            for size in shapes[value.name]:
                dims.dim.add(dim_value=size)
    if shapes:  # those written in the file may contradict
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return light


def _form(value: Any) -> _Form:
    """Return a value's type and dimensions, where they are known."""
    if not value.type.HasField("tensor_type"):
        return None, None
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    whole = tensor.HasField("shape") and all(dim >= 0 for dim in dims)
    return int(tensor.elem_type), dims if whole else None
