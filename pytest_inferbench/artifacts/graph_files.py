"""ONNX files as recipes need them: takes paths and models, gives the same; knows no precision.

What is written declares no newer an IR than it needs, and weights above 1 GiB lie beside it.
Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_inferbench.artifacts.inspect import all_tensors

_HIGHEST_IR = 10
_LARGE_BYTES = 1 << 30  # above it weights go beside the file, well below protobuf's 2 GiB


def is_large(source: Path) -> bool:
    """Tell whether weights lie, or must lie, beside the file."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    if source.stat().st_size > _LARGE_BYTES:
        return True
    return any(
        map(uses_external_data, all_tensors(onnx.load(str(source), load_external_data=False)))
    )


def data_file(output: Path) -> Path:
    """Return where a model's large weights lie."""
    return output.parent / f"{output.name}.data"


def save(model: Any, output: Path, large: bool) -> None:
    """Write a model that declares no newer a format than it needs."""
    import onnx

    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = max(needed, min(model.ir_version, _HIGHEST_IR))
    if large:
        data_file(output).unlink(missing_ok=True)  # onnx would append to it
    onnx.save(
        model,
        str(output),
        save_as_external_data=large,
        location=data_file(output).name if large else None,
    )


def opset_of(model: Any) -> int:
    """Return the version of ONNX's own operators that a model asks for."""
    return max(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def at_opset(model: Any, lowest: int, highest: int) -> Any:
    """Bring a model into a range of opsets, unless it uses what only newer ones have."""
    from onnx.version_converter import ConvertError, convert_version

    opset = opset_of(model)
    wanted = min(max(opset, lowest), highest)
    if wanted == opset:
        return model
    try:
        return convert_version(model, wanted)
    except (ConvertError, RuntimeError, ValueError):
        if wanted > opset:
            raise
        return model


def prepared(
    source: Path, scratch: Path, large: bool, opsets: tuple[int, int] | None = None
) -> Path:
    """Fold constants and functions, and infer the type of every tensor.

    Symbolic shape inference is left out: it would make the result depend on an optional package.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    loaded = onnx.load(str(source))
    fixed = _with_constant_weights(loaded)
    model = at_opset(loaded, *opsets) if opsets else loaded
    if fixed or model is not loaded:
        source = scratch / "fixed.onnx"
        save(model, source, large)
    del loaded, model
    result = scratch / "prepared.onnx"
    quant_pre_process(
        str(source),
        str(result),
        skip_symbolic_shape=True,
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        external_data_location=f"{result.name}.data" if large else None,
    )
    return result


def name_nodes(nodes: Iterable[Any]) -> bool:
    """Name the nodes that have no name, as recipes choose them by name; tell if there were any."""
    named = False
    for index, node in enumerate(nodes):
        if not node.name:
            node.name, named = f"{node.op_type}_{index}", True
    return named


def subgraphs(node: Any) -> Iterator[Any]:
    """Yield the graphs that a node holds: the branches of an If, the body of a Loop."""
    from onnx import AttributeProto

    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def _with_constant_weights(model: Any) -> bool:
    """Drop weights from the graph's inputs, where old exporters list them; tell if there were any.

    Nobody feeds them, and what might be fed is neither converted nor quantized.
    """
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    changed = len(inputs) < len(model.graph.input)
    if changed:
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    return changed
