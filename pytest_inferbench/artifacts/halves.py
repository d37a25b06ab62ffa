"""Graphs in 16 bits: takes an fp32 model, gives one with fp32 inputs and outputs, and facts.

fp16 is ONNX Runtime's own converter; it has none for bf16, so that one is `bfloat16`. In bf16,
what follows the last layer with weights stays fp32: boxes in pixels would be off by several, and
it costs little. Runs in the worker.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pytest_inferbench.artifacts import graph_facts, graph_files, node_choice
from pytest_inferbench.artifacts.bfloat16 import (
    HIGHEST_OPSET,
    on_cuda,
    on_tensorrt,
    opset_for,
    to_bfloat16,
)
from pytest_inferbench.artifacts.inspect import all_tensors

_Calibration = Mapping[str, npt.NDArray[Any]]


def to_fp16(
    recipe: Mapping[str, Any], source: Path, output: Path, _calibration: _Calibration
) -> dict[str, Any]:
    """Write a model in fp16.

    Raises:
        InferbenchError: IB-432 an excluded node does not exist; IB-434 nothing was converted.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    large, exclude = graph_files.is_large(source), _excluded(recipe, source)
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=output.parent) as scratch:
        model = onnx.load(str(graph_files.prepared(source, Path(scratch), large)))
    graph_files.name_nodes(model.graph.node)  # casts are named after their nodes
    kept = node_choice.names_of(model.graph.node, exclude)
    left = [
        (node.op_type, node_choice.EXCLUDED if node.name in kept else "the converter keeps it")
        for node in model.graph.node
        if node.name in kept or node.op_type in DEFAULT_OP_BLOCK_LIST
    ]
    floats = _count(model, onnx.TensorProto.FLOAT)
    model = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, node_block_list=kept
    )
    halves = _count(model, onnx.TensorProto.FLOAT16)
    ONNXModel(model).topological_sort()  # the converter appends its casts at the end
    casts = sum("_cast" in node.name for node in model.graph.node if node.op_type == "Cast")
    if casts == 0:
        raise node_choice.nothing_to_do("fp16", source, "it computes nothing in fp32")
    graph_files.save(model, output, large)
    return {**_facts(model, left), "fp32_tensors": floats, "fp16_tensors": halves, "casts": casts}


def to_bf16(
    recipe: Mapping[str, Any], source: Path, output: Path, _calibration: _Calibration
) -> dict[str, Any]:
    """Write a model in bf16: for ONNX Runtime's CUDA provider, or ("trt") for TensorRT.

    Raises:
        InferbenchError: IB-432 an excluded node does not exist; IB-434 nothing was converted.
    """
    import onnx

    has_kernel = on_tensorrt if recipe.get("scheme") == "trt" else on_cuda
    large, exclude = graph_files.is_large(source), _excluded(recipe, source)
    outline = onnx.load(str(source), load_external_data=False)
    lowest = opset_for(outline.graph, graph_files.opset_of(outline), has_kernel)
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=output.parent) as scratch:
        model = onnx.load(str(_at_least(lowest, source, Path(scratch), large)))
    nodes = model.graph.node
    graph_files.name_nodes(nodes)
    keep = {
        **dict.fromkeys(graph_facts.tail(nodes), node_choice.AFTER_WEIGHTS),
        **dict.fromkeys(node_choice.names_of(nodes, exclude), node_choice.EXCLUDED),
    }
    floats = _count(model, onnx.TensorProto.FLOAT)
    left = to_bfloat16(model, graph_files.opset_of(model), keep, has_kernel)
    halves = _count(model, onnx.TensorProto.BFLOAT16)
    facts = _facts(model, left)
    if "bf16" not in facts["precisions"]:
        why = "; ".join(sorted({why for _, why in left})) or "it computes nothing in fp32"
        raise node_choice.nothing_to_do("bf16", source, why)
    graph_files.save(model, output, large)
    casts = facts["ops"].get("Cast", 0)
    return {**facts, "fp32_tensors": floats, "bf16_tensors": halves, "casts": casts}


def _at_least(lowest: int, source: Path, scratch: Path, large: bool) -> Path:
    """Prepare a model at an opset, or, where it cannot be brought there, at its own."""
    try:
        return graph_files.prepared(source, scratch, large, (lowest, max(lowest, HIGHEST_OPSET)))
    except Exception:  # noqa: BLE001 - whatever onnx raises; at its own opset a true fault shows again
        return graph_files.prepared(source, scratch, large)


def _excluded(recipe: Mapping[str, Any], source: Path) -> list[str]:
    import onnx

    exclude = list(recipe.get("exclude", []))
    nodes = onnx.load(str(source), load_external_data=False).graph.node if exclude else []
    node_choice.check_excluded(source, nodes, exclude)
    return exclude


def _count(model: Any, data_type: int) -> int:
    return sum(tensor.data_type == data_type for tensor in all_tensors(model))


def _facts(model: Any, left: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        **graph_facts.counts(model),
        "precisions": graph_facts.precisions(model),
        "left_in_fp32": node_choice.grouped(left),
    }
