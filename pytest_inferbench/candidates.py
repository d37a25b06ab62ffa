"""Graphs under suspicion: takes an ONNX file or an OpenVINO IR, gives the values inside it.

Both kinds are asked the same: what can be compared with the reference, its values when the whole
graph runs, and its values when the inputs of each layer are given. Knows no errors or budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_inferbench.artifacts.expose import fed, write_cut, write_exposed
from pytest_inferbench.artifacts.graph_facts import words
from pytest_inferbench.artifacts.outline import Graph, Outline, points
from pytest_inferbench.bench import fits, narrowed

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.divergence import Point
    from pytest_inferbench.bench import Bench
    from pytest_inferbench.tasks import Array, Sample

    Values = Sequence[Mapping[str, Array]]


_WEIGHTED = words(
    """Convolution GroupConvolution ConvolutionBackpropData GroupConvolutionBackpropData MatMul"""
)


class Candidate(Protocol):
    """A graph that can be looked into."""

    @property
    def points(self) -> list[Point]:
        """What can be compared with the reference, in topological order."""

    @property
    def outputs(self) -> Sequence[str]:
        """The model's outputs."""

    def can_be_given(self, name: str, arrays: Sequence[Array]) -> bool:
        """Whether values can be put in a tensor's place: its type is known and holds them."""

    def values(self, names: Sequence[str], samples: Sequence[Sample]) -> Values:
        """Return tensors, and the outputs, when the whole graph runs."""

    def values_given(
        self, names: Sequence[str], given: Mapping[str, Sequence[Array]], samples: Sequence[Sample]
    ) -> Values:
        """Return tensors when others are given, whatever they are computed from.

        Args:
            names: Which tensors to return.
            given: The others' values for every sample, by name.
            samples: The graph's inputs.
        """


class OnnxCandidate:
    """An ONNX file, or what is built of it."""

    def __init__(self, outline: Outline, reference: Outline, bench: Bench) -> None:
        self._outline, self._reference, self._bench = outline, reference, bench

    @cached_property
    def points(self) -> list[Point]:
        """What can be compared with the reference, in topological order."""
        return points(self._outline, self._reference)

    @property
    def outputs(self) -> Sequence[str]:
        """The model's outputs."""
        return self._outline.outputs

    def can_be_given(self, name: str, arrays: Sequence[Array]) -> bool:
        """Whether values can be put in a tensor's place: its type is known and holds them."""
        dtype = self._outline.dtype(name)
        is_typed = bool(dtype) and not self._bench.is_calibrated
        return is_typed and all(fits(array, dtype) for array in arrays)

    def values(self, names: Sequence[str], samples: Sequence[Sample]) -> Values:
        """Return tensors, and the outputs, when the whole graph runs."""
        added = [name for name in names if name not in self._outline.outputs]
        file = write_exposed(self._outline, added, self._bench.new_folder())
        found = self._bench.run(file, samples).samples
        for name, array in found[0].items():
            self._outline.learn(name, array.dtype.name)
        return found

    def values_given(
        self, names: Sequence[str], given: Mapping[str, Sequence[Array]], samples: Sequence[Sample]
    ) -> Values:
        """Return tensors when others are given, whatever they are computed from."""
        cuts = {name: shape_of(arrays) for name, arrays in given.items()}
        file = write_cut(self._outline, cuts, names, self._bench.new_folder())
        feeds = [
            {
                **sample,
                **{
                    fed(name): narrowed(arrays[i], self._outline.dtype(name))
                    for name, arrays in given.items()
                },
            }
            for i, sample in enumerate(samples)
        ]
        return self._bench.run(file, feeds).samples

    @property
    def node_count(self) -> int:
        """How many nodes the graph has."""
        return len(self._outline.nodes)

    def sizes(self, shapes: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        """Return how many elements tensors have when the inputs have these shapes, where known."""
        return self._outline.sizes(shapes)


class IrCandidate:
    """An OpenVINO IR."""

    def __init__(self, path: str, reference: Outline, bench: Bench) -> None:
        self._path, self._reference, self._bench = path, reference, bench

    @cached_property
    def points(self) -> list[Point]:
        """What can be compared with the reference, in topological order."""
        return points(self._graph, self._reference)

    @property
    def outputs(self) -> Sequence[str]:
        """The model's outputs."""
        return self._graph.outputs

    def can_be_given(self, name: str, arrays: Sequence[Array]) -> bool:
        """Whether values can be put in a tensor's place: its type is known and holds them."""
        dtype = self._graph.dtype(name)
        return bool(dtype) and all(fits(array, dtype) for array in arrays)

    def values(self, names: Sequence[str], samples: Sequence[Sample]) -> Values:
        """Return tensors, and the outputs, when the whole graph runs."""
        added = [name for name in names if name not in self.outputs]
        file = self._write({"way": "exposed", "ports": [self._places[name] for name in added]})
        return self._run(file, [*self.outputs, *added], samples)

    def values_given(
        self, names: Sequence[str], given: Mapping[str, Sequence[Array]], samples: Sequence[Sample]
    ) -> Values:
        """Return tensors when others are given, whatever they are computed from."""
        cuts = [[self._places[name], shape_of(arrays, -1)] for name, arrays in given.items()]
        ports = [self._places[name] for name in names]
        file = self._write({"way": "cut", "cuts": cuts, "ports": ports})
        feeds = [
            {
                **sample,
                **{
                    f"fed_{number}": narrowed(arrays[i], self._graph.dtype(name))
                    for number, (name, arrays) in enumerate(given.items())
                },
            }
            for i, sample in enumerate(samples)
        ]
        return self._run(file, names, feeds)

    def _run(self, file: Path, names: Sequence[str], samples: Sequence[Sample]) -> Values:
        """Run, and call the outputs what they are: an IR's own names for them may differ."""
        found = self._bench.run(file, samples)
        return [
            {name: each[own] for name, own in zip(names, found.names, strict=True)}
            for each in found.samples
        ]

    def _write(self, recipe: Mapping[str, Any]) -> Path:
        file = self._bench.new_folder() / "model.xml"
        self._build(recipe, file)
        return file

    def _build(self, recipe: Mapping[str, Any], file: Path) -> dict[str, Any]:
        fields = {"family": "exposed", "recipe": recipe, "model": self._path, "output": str(file)}
        return self._bench.build(fields)

    @property
    def _graph(self) -> Graph:
        return self._read[0]

    @property
    def _places(self) -> Mapping[str, list[Any]]:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Graph, dict[str, list[Any]]]:
        """The IR as a graph like ONNX's, and which port each of its tensors is."""
        told = self._build({"way": "outline"}, Path("unused"))
        known, names = self._reference.dynamic, {}
        places: dict[str, list[Any]] = {}
        dtypes = {}
        for op in told["ops"]:
            for number, port in enumerate(op["outputs"]):
                own = next((name for name in port["names"] if name in known), None)
                name = own if own and own not in places else f"{op['name']}:{number}"
                names[op["name"], number] = name
                places[name], dtypes[name] = [op["name"], number], port["dtype"]
        nodes, all_reads, outputs = [], [], []
        inputs = {op for op, _ in told["inputs"]}
        for op in told["ops"]:
            read = [names[source, number] for source, number in op["reads"]]
            if op["type"] == "Result":
                outputs += read
            elif op["name"] not in inputs:
                made = [names[op["name"], number] for number in range(len(op["outputs"]))]
                nodes.append(
                    SimpleNamespace(op_type=op["type"], name=op["name"], input=read, output=made)
                )
                all_reads.append(read)
        taken = [names[op, 0] for op, _ in told["inputs"]]
        return Graph(nodes, all_reads, taken, outputs, dtypes, _sums(nodes)), places


def _sums(nodes: Sequence[Any]) -> list[str]:
    """Return what layers with weights make of quantized data.

    Where such a tensor is an output, OpenVINO 2026.4 computes zeros for it and all behind it.
    """
    quantized = {name for node in nodes if node.op_type == "FakeQuantize" for name in node.output}
    return [
        name
        for node in nodes
        if node.op_type in _WEIGHTED and quantized.intersection(node.input)
        for name in node.output
    ]


def shape_of(arrays: Sequence[Array], free: int | None = None) -> list[int | str]:
    """Return the shape of every sample, open where the samples differ."""
    shapes = [array.shape for array in arrays]
    return [
        sizes[0] if len(set(sizes)) == 1 else (f"free_{axis}" if free is None else free)
        for axis, sizes in enumerate(zip(*shapes, strict=True))
    ]
