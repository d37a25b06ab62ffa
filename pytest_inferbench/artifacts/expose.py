"""Graphs with their inside laid open: takes an outline, writes it with other inputs and outputs.

Weights are neither loaded nor copied where they lie beside the file. Knows no runtime.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_inferbench.artifacts.graph_files import subgraphs
from pytest_inferbench.artifacts.inspect import all_tensors
from pytest_inferbench.artifacts.outline import Outline, reads

_FED = "::fed"


def write_exposed(outline: Outline, names: Iterable[str], folder: Path) -> Path:
    """Write a graph with further outputs; its own stay, and come first."""
    graph = outline.model.graph
    count = len(graph.output)
    graph.output.extend(_value(outline, name, None) for name in names)
    try:
        return _write(outline, outline.model, folder)
    finally:
        del graph.output[count:]


def write_cut(
    outline: Outline,
    cuts: Mapping[str, Sequence[int | str] | None],
    wanted: Sequence[str],
    folder: Path,
) -> Path:
    """Write what some tensors are computed by, given others.

    Args:
        outline: The graph.
        cuts: The tensors that are fed, with their shapes; the inputs are called what `fed` says.
        wanted: The tensors that come out. One that is fed as well is computed nevertheless, and its
            readers get what is fed.
        folder: Where to write.
    """
    import onnx

    needed: set[int] = set()
    for name in wanted:
        needed.update(_needed(outline, name, cuts))
    renames = {name: fed(name) for name in cuts}
    model = onnx.ModelProto()
    for part in ("opset_import", "functions", "metadata_props"):
        getattr(model, part).extend(getattr(outline.model, part))
    model.ir_version = outline.model.ir_version
    source, graph = outline.model.graph, model.graph
    graph.name = source.name or "cut"
    read: set[str] = set(wanted)
    for index in sorted(needed):
        node = graph.node.add()
        node.CopyFrom(outline.nodes[index])
        _rename_inputs(node, renames)
        read.update(reads(node))
    graph.input.extend(each for each in source.input if each.name in read - outline.weights)
    graph.input.extend(
        _value(outline, name, shape, fed(name)) for name, shape in cuts.items() if fed(name) in read
    )
    graph.initializer.extend(each for each in source.initializer if each.name in read)
    graph.sparse_initializer.extend(
        each for each in source.sparse_initializer if each.values.name in read
    )
    own = {each.name: each for each in source.output}
    graph.output.extend(own.get(name) or _value(outline, name, None) for name in wanted)
    return _write(outline, model, folder)


def fed(name: str) -> str:
    """Return what the input is called through which a tensor is fed."""
    return name + _FED


def _needed(outline: Outline, name: str, cuts: Collection[str]) -> set[int]:
    nodes: set[int] = set()
    waiting = [name]
    while waiting:
        index = outline.made_by.get(waiting.pop())
        if index is not None and index not in nodes:
            nodes.add(index)
            waiting += [each for each in outline.reads[index] if each not in cuts]
    return nodes


def _rename_inputs(node: Any, renames: Mapping[str, str]) -> None:
    for i, name in enumerate(node.input):
        if name in renames:
            node.input[i] = renames[name]
    for inner in subgraphs(node):
        own = {each.name for each in (*inner.input, *inner.initializer)}
        own |= {name for each in inner.node for name in each.output}
        left = {old: new for old, new in renames.items() if old not in own}
        for each in inner.node:
            _rename_inputs(each, left)
        for output in inner.output:  # a branch may hand out what it reads from outside
            if output.name in left:
                output.name = left[output.name]


def _value(
    outline: Outline, name: str, shape: Sequence[int | str] | None, called: str | None = None
) -> Any:
    from onnx import ValueInfoProto, helper

    kind = outline.kinds.get(name)
    if kind is None:
        return ValueInfoProto(name=called or name)
    return helper.make_tensor_value_info(called or name, kind, shape)


def _write(outline: Outline, model: Any, folder: Path) -> Path:
    """Write a model, its external data linked beside it, or copied where links cannot be."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    for location in external_locations(model):
        target = folder / location
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source = (outline.path.parent / location).resolve()
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


def external_locations(model: Any) -> set[str]:
    """Return the files, relative to the model, that hold weights of it."""
    return {
        entry.value
        for tensor in all_tensors(model)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
