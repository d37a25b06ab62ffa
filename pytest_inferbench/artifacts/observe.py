"""What the tensors of a graph are on calibration samples: takes a graph, gives a histogram of each.

One sample at a time, and no more tensors at a time than fit into memory. Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pytest_inferbench.artifacts.calibration import Samples
from pytest_inferbench.artifacts.ranges import Histogram

_MOST_BYTES = 512 << 20
"""What the tensors that are looked at together may take of one sample, where shapes are known."""


def observe(
    prepared: Path, samples: Samples, left_out: Collection[str], ops: Collection[str] | None
) -> dict[str, Histogram]:
    """Run a graph on every sample, and count the values of what quantized nodes read and give.

    Args:
        prepared: A graph whose tensors have their types; its weights may lie beside it.
        samples: What to run it on.
        left_out: Nodes that are not quantized.
        ops: The types of those that are; None means any.
    """
    import onnx

    model = onnx.load(str(prepared), load_external_data=False)
    read = [
        node
        for node in model.graph.node
        if node.name not in left_out and (ops is None or node.op_type in ops)
    ]
    floats = _floats(model)
    wanted = dict.fromkeys(name for node in read for name in (*node.input, *node.output))
    histograms = {name: Histogram() for name in wanted if name in floats}
    given = {each.name for each in model.graph.input}
    computed = {name: floats[name] for name in histograms if name not in given}
    for group in _groups(computed) or [[]]:
        _run(prepared, model, group, samples, histograms)
    for name in histograms.keys() & given:
        for sample in samples:
            histograms[name].add(sample[name])
    return histograms


def _run(
    prepared: Path,
    model: Any,
    group: list[Any],
    samples: Samples,
    histograms: dict[str, Histogram],
) -> None:
    """Expose some tensors, run every sample, and count what comes out."""
    import onnx
    import onnxruntime as ort

    if not group:
        return
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(group)
    path = prepared.with_name("observed.onnx")  # beside its weights
    onnx.save(opened, str(path))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [each.name for each in group]
    for sample in samples:
        for name, values in zip(names, session.run(names, sample)):  # noqa: B905
            histograms[name].add(values)


def _floats(model: Any) -> dict[str, Any]:
    """Return what is known of the tensors of floats that are no weights."""
    from onnx import TensorProto

    weights = {each.name for each in model.graph.initializer}
    known = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return {
        each.name: each
        for each in known
        if each.type.tensor_type.elem_type in kinds and each.name not in weights
    }


def _groups(tensors: dict[str, Any]) -> list[list[Any]]:
    groups: list[list[Any]] = []
    room = 0
    for each in tensors.values():
        size = _bytes(each)
        if not groups or size > room:
            groups.append([])
            room = _MOST_BYTES
        groups[-1].append(each)
        room -= size
    return groups


def _bytes(tensor: Any) -> int:
    """Return a tensor's size, taking dimensions that are open for one."""
    size = 4
    for dim in tensor.type.tensor_type.shape.dim:
        size *= max(int(dim.dim_value), 1)
    return size
