"""What each layer alone costs when it is quantized: takes a model and samples, gives a ranking.

The graph is calibrated and quantized once. Then, for one layer at a time, the pairs of Q and DQ
around its inputs are put into the float graph, and the outputs are compared with its own. Runs in
the worker, on ONNX Runtime's CPU, whatever backend the ranking is for.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts import graph_facts, graph_files
from pytest_inferbench.artifacts.build_errors import explained
from pytest_inferbench.artifacts.calibration import Samples
from pytest_inferbench.artifacts.quantize import OPSETS, quantize

Array = npt.NDArray[Any]


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Array],
) -> dict[str, Any]:
    """Write the ranking as JSON, and return it.

    Args:
        recipe: As of `recipes_ort.build` for int8 or fp8; ``ranked_on``, how many samples.
        model_path: The fp32 model; never written to.
        output_path: The file to write.
        calibration: Inputs by name, stacked on a leading axis of samples.

    Returns:
        ``layers``, what costs most first: ``name``, ``op``, ``noise`` (the squared error of the
        outputs over their variance among the samples), and ``excludable``, whether the file
        calls the node so.

    Raises:
        InferbenchError: As `recipes_ort.build` for the precision.
    """
    source, output = Path(model_path), Path(output_path)
    precision = "int8"  # a layer that rounds badly to one rounds badly to the other
    with (
        explained(str(recipe["precision"]), source, output),
        redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory(prefix=".ranking-", dir=output.parent) as scratch,
    ):
        folder = Path(scratch)
        quantized = folder / "quantized.onnx"
        quantize({**recipe, "precision": precision}, source, quantized, calibration)
        large = graph_files.is_large(source)
        floats = graph_files.prepared(source, folder, large, OPSETS[precision])
        layers = _ranked(source, floats, quantized, calibration, int(recipe["ranked_on"]))
    output.write_text(json.dumps(layers, indent=1), encoding="utf-8")
    return {"layers": layers, "bytes": output.stat().st_size}


def _ranked(
    source: Path, floats: Path, quantized: Path, calibration: Mapping[str, Array], count: int
) -> list[dict[str, Any]]:
    import onnx

    original = onnx.load(str(source), load_external_data=False).graph
    named = {node.name for node in original.node}
    model = onnx.load(str(floats), load_external_data=False)
    graph_files.name_nodes(model.graph.node)
    inputs = {each.name for each in model.graph.input}
    samples = list(islice(Samples(source, inputs, calibration, "int8"), count))
    reference = _outputs(floats, model, samples)
    layers = []
    for node, one in _one_by_one(model, onnx.load(str(quantized), load_external_data=False)):
        noise = _noise(reference, _outputs(floats, one, samples))
        layers.append(
            {
                "name": node.name,
                "op": node.op_type,
                "noise": noise,
                "excludable": node.name in named,
            }
        )
    # Sorting keeps the order of the graph among equals, so that each run gives the same.
    return sorted(layers, key=lambda layer: -layer["noise"])


def _one_by_one(model: Any, quantized: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every quantized layer with the float graph in which it alone is quantized."""
    import onnx

    makers = {name: node for node in quantized.graph.node for name in node.output}
    constants = {each.name: each for each in quantized.graph.initializer}
    positions = {node.name: index for index, node in enumerate(model.graph.node)}
    for node in quantized.graph.node:
        if node.op_type not in graph_facts.WEIGHTED or node.name not in positions:
            continue
        pairs = [_pair(name, makers) for name in node.input[:2]]  # a bias loses next to nothing
        if not any(pairs):
            continue
        one = onnx.ModelProto()
        one.CopyFrom(model)
        layer = one.graph.node[positions[node.name]]
        added: dict[str, Any] = {}
        for index, pair in enumerate(pairs):
            if pair:
                layer.input[index] = node.input[index]
                added |= {each.output[0]: each for each in pair}
        wanted = {name for each in added.values() for name in each.input}
        known = {each.name for each in one.graph.initializer}
        one.graph.initializer.extend(
            constants[name] for name in sorted(wanted - known) if name in constants
        )
        for each in reversed(list(added.values())):
            one.graph.node.insert(positions[node.name], each)
        yield node, one


def _pair(name: str, makers: Mapping[str, Any]) -> list[Any]:
    """Return the Q and DQ before an input, or the DQ of a weight; nothing where it is float."""
    last = makers.get(name)
    if last is None or last.op_type != "DequantizeLinear":
        return []
    first = makers.get(last.input[0])
    return [last] if first is None else [first, last]


def _outputs(beside: Path, model: Any, samples: list[dict[str, Array]]) -> list[list[Array]]:
    """Run a graph whose weights may lie beside a file on some samples."""
    import onnx
    import onnxruntime as ort

    path = beside.with_name("one.onnx")
    onnx.save(model, str(path))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return [session.run(None, sample) for sample in samples]


def _noise(reference: list[list[Array]], found: list[list[Array]]) -> float:
    """Return the squared error over the variance among samples, of the output that has most.

    Channels count alike: a detector has boxes in pixels and probabilities in one output.
    """
    shares = [0.0]
    for of_reference, of_found in zip(zip(*reference), zip(*found)):  # noqa: B905
        shapes = {each.shape for each in (*of_reference, *of_found)}
        if of_reference[0].dtype.kind != "f" or len(shapes) > 1:
            continue
        right = np.stack(of_reference).astype(np.float64)
        others = _all_but_channels(right.shape)
        centred = right - right.mean(axis=0) if len(right) > 1 else right
        signal = (centred**2).sum(axis=others)
        error = ((np.stack(of_found) - right) ** 2).sum(axis=others)
        shares.append(float(np.mean(error[signal > 0] / signal[signal > 0])) if signal.any() else 0)
    return max(shares)


def _all_but_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of samples, batch and places: all but the shortest of the others.

    Where there is one other, as in a batch of vectors, its elements are no channels.
    """
    own = range(2, len(shape))
    channels = min(own, key=lambda axis: shape[axis]) if len(own) > 1 else None
    return tuple(axis for axis in range(len(shape)) if axis != channels)
