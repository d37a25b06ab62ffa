"""Quantized graphs: takes a model and calibration samples, gives a Q/DQ graph and facts about it.

Three schemes. "cpu": unsigned activations and signed 7-bit weights, per channel: on x86 the fastest
pair of types, and with 8-bit weights CPUs without VNNI instructions overflow without a word.
"trt": what TensorRT takes, and what fuses there: signed and symmetric (zero point 0), 8-bit weights
per channel, no Q/DQ on biases, and Q/DQ before layers with weights alone. "cuda": the same with
unsigned activations that have a zero point: ONNX Runtime's CUDA provider needs no symmetry, and
computes what belongs to integer biases on the CPU. What follows the last layer with weights stays
in float. Float8 is the "trt" graph with its integers exchanged. Runs in the worker.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts import graph_facts, graph_files, node_choice
from pytest_inferbench.artifacts.calibration import Samples
from pytest_inferbench.artifacts.float8 import to_float8
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

SCHEMES = ("cpu", "cuda", "trt")

# The first with scales per channel (float8: the first that has it), the last that old runtimes have
_OPSETS = {"int8": (13, 21), "fp8": (19, 21)}


def quantize(
    recipe: Mapping[str, Any], source: Path, output: Path, calibration: Mapping[str, Array]
) -> dict[str, Any]:
    """Write a model with its layers quantized to int8 or fp8.

    Raises:
        InferbenchError: IB-430 to IB-432, IB-434, IB-436, IB-437; see `recipes_ort.build`.
    """
    import onnx

    precision = str(recipe["precision"])
    scheme = "trt" if precision == "fp8" else _scheme(recipe)
    method = str(recipe.get("method", "minmax"))
    large = graph_files.is_large(source)
    graph = onnx.load(str(source), load_external_data=False).graph
    exclude = list(recipe.get("exclude", []))
    node_choice.check_excluded(source, graph.node, exclude)
    weights = {initializer.name for initializer in graph.initializer}
    inputs = {each.name for each in graph.input} - weights
    samples = Samples(source, inputs, calibration, precision)
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=output.parent) as scratch:
        prepared = graph_files.prepared(source, Path(scratch), large, _OPSETS[precision])
        left_out, why = _left_out(prepared, exclude)
        _with_pairs(prepared, output, samples, left_out, method, scheme, large)
        model = onnx.load(str(output), load_external_data=precision == "fp8")
        _check_ranges(source, model)
        quantized = graph_facts.quantized_ops(model)
        if not quantized:
            raise node_choice.nothing_to_do(
                precision, source, "none of its operators could be quantized"
            )
        if precision == "fp8":
            to_float8(model, onnx.load(str(prepared)))
    # Integer weights, if beside it, stay where they are; float8 ones were changed.
    graph_files.save(model, output, large=large and precision == "fp8")
    return {
        **graph_facts.counts(model),
        "precisions": graph_facts.precisions(model),
        "quantized": quantized,
        "left_in_fp32": _remaining(model, why),
        "scheme": scheme,
        "method": method,
        "samples": len(samples),
    }


def _with_pairs(
    prepared: Path,
    output: Path,
    samples: Samples,
    left_out: list[str],
    method: str,
    scheme: str,
    large: bool,
) -> None:
    from onnxruntime.quantization import QuantFormat, quantize_static

    quantize_static(
        str(prepared),
        str(output),
        samples,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        nodes_to_exclude=left_out,
        calibrate_method=_calibration_method(method),
        use_external_data_format=large,
        **_scheme_arguments(scheme),
    )


def _scheme(recipe: Mapping[str, Any]) -> str:
    scheme = str(recipe.get("scheme", SCHEMES[0]))
    if scheme not in SCHEMES:
        raise InferbenchError(
            "IB-437",
            f"int8 has no scheme {scheme!r}",
            f"The schemes are {', '.join(SCHEMES)}; set the backend's `scheme` to one of them.",
        )
    return scheme


def _scheme_arguments(scheme: str) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    # One sample at a time: all activations of all samples would not fit into memory.
    common = {"CalibStridedMinMax": 1}
    if scheme == "cpu":
        return {
            "reduce_range": True,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "extra_options": common,
        }
    weighted = sorted(graph_facts.WEIGHTED)
    symmetric = scheme == "trt"
    return {
        "activation_type": QuantType.QInt8 if symmetric else QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "op_types_to_quantize": weighted,
        "extra_options": {
            **common,
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": weighted,
        },
    }


def _calibration_method(method: str) -> Any:
    from onnxruntime.quantization import CalibrationMethod

    return {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[method]


def _left_out(prepared: Path, exclude: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the nodes that stay in float, the excluded ones first, and why.

    Where a detector puts boxes in pixels and probabilities into one tensor, one scale for both
    leaves nothing of the probabilities; and what has no weights gains little from int8.
    """
    import onnx

    model = onnx.load(str(prepared), load_external_data=False)
    nodes = model.graph.node
    if graph_files.name_nodes(nodes):
        onnx.save(model, str(prepared))
    excluded = node_choice.names_of(nodes, exclude)
    tail = graph_facts.tail(nodes)
    why = {
        **dict.fromkeys(tail, node_choice.AFTER_WEIGHTS),
        **dict.fromkeys(excluded, node_choice.EXCLUDED),
    }
    return [*excluded, *tail], why


def _remaining(model: Any, why: Mapping[str, str]) -> list[dict[str, Any]]:
    """List the layers with weights that were not quantized, with the reason."""
    dequantized = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    left = [
        (node.op_type, why.get(node.name, "its inputs are not quantizable"))
        for node in model.graph.node
        if node.op_type in graph_facts.WEIGHTED and not dequantized.issuperset(node.input[:2])
    ]
    return node_choice.grouped(left)


def _check_ranges(source: Path, model: Any) -> None:
    """Refuse what calibration saw as infinite: it would quantize to nonsense without a word."""
    from onnx import numpy_helper

    scales = {each.name: each for each in model.graph.initializer}
    infinite = [
        node.input[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
        and node.input[1] in scales
        and not np.isfinite(numpy_helper.to_array(scales[node.input[1]])).all()
    ]
    if infinite:
        raise InferbenchError(
            "IB-436",
            f"{source.name} computes NaN or infinity on the calibration samples, in"
            f" {', '.join(infinite)}",
            "Exclude the nodes that write or read these (quantization.exclude), or clip them.",
        )
