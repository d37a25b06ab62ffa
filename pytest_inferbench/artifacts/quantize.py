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
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts import graph_facts, graph_files, node_choice, ranges
from pytest_inferbench.artifacts.calibration import Samples
from pytest_inferbench.artifacts.float8 import to_float8
from pytest_inferbench.artifacts.observe import observe
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

SCHEMES = ("cpu", "cuda", "trt")

# The first with scales per channel (float8: the first that has it), the last that old runtimes have
OPSETS = {"int8": (13, 21), "fp8": (19, 21)}


def quantize(
    recipe: Mapping[str, Any], source: Path, output: Path, calibration: Mapping[str, Array]
) -> dict[str, Any]:
    """Write a model with its layers quantized to int8 or fp8.

    Args:
        recipe: See `recipes_ort.build`.
        source: The fp32 model.
        output: The file to write.
        calibration: Inputs by name, stacked on a leading axis of samples.

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
        prepared = graph_files.prepared(source, Path(scratch), large, OPSETS[precision])
        left_out, why = _left_out(prepared, exclude)
        chosen = _ranges(source, prepared, samples, left_out, recipe, scheme)
        arguments = _arguments(scheme, chosen, bool(recipe.get("per_channel", True)))
        _with_pairs(prepared, output, samples, left_out, large, arguments)
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
        "per_channel": recipe.get("per_channel", True),
        "samples": len(samples),
    }


def _ranges(
    source: Path,
    prepared: Path,
    samples: Samples,
    left_out: list[str],
    recipe: Mapping[str, Any],
    scheme: str,
) -> dict[str, ranges.Range]:
    """Return the ranges of tensors that are not simply their extremes; those the quantizer finds.

    Raises:
        InferbenchError: IB-436 a tensor is not finite; IB-437 no such method.
    """
    method, symmetric = str(recipe.get("method", "minmax")), scheme == "trt"
    if method == "minmax":
        return {}
    if method not in ("entropy", "percentile"):
        raise InferbenchError("IB-437", f"{method!r} is no method of calibration")
    ops = None if scheme == "cpu" else graph_facts.WEIGHTED
    histograms = observe(prepared, samples, frozenset(left_out), ops)
    infinite = [name for name, each in histograms.items() if not each.is_finite]
    if infinite:
        raise _not_finite(source, infinite)
    histograms = {name: each for name, each in histograms.items() if each.counts.any()}
    if method == "entropy":
        found = {n: ranges.least_entropy(h, symmetric=symmetric) for n, h in histograms.items()}
    else:
        share = float(recipe["percentile"])
        found = {
            name: ranges.percentile(each, share, symmetric=symmetric)
            for name, each in histograms.items()
        }
    return found if symmetric else _as_fused(prepared, found)


def _as_fused(prepared: Path, found: dict[str, ranges.Range]) -> dict[str, ranges.Range]:
    """Correct ranges as the quantizer corrects its own.

    An unsigned range that begins at 0 is what makes up for a Relu, which is then left out: so what
    goes into it has the range of what comes out. A Softmax gives 0 to 1 on any data.
    """
    import onnx

    nodes = onnx.load(str(prepared), load_external_data=False).graph.node
    readers = Counter(name for node in nodes for name in node.input)
    for node in nodes:
        if node.op_type == "Softmax":
            found.pop(node.output[0], None)
        elif (
            node.op_type in ("Relu", "Clip")
            and readers[node.input[0]] == 1
            and {node.input[0], node.output[0]} <= found.keys()
        ):
            found[node.input[0]] = found[node.output[0]]
    return found


def _with_pairs(
    prepared: Path,
    output: Path,
    samples: Samples,
    left_out: list[str],
    large: bool,
    arguments: Mapping[str, Any],
) -> None:
    from onnxruntime.quantization import QuantFormat, quantize_static

    quantize_static(
        str(prepared),
        str(output),
        samples,
        quant_format=QuantFormat.QDQ,
        nodes_to_exclude=left_out,
        use_external_data_format=large,
        **arguments,
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


def _arguments(
    scheme: str, chosen: Mapping[str, ranges.Range], per_channel: bool
) -> dict[str, Any]:
    """Return how ONNX Runtime quantizes: by min and max, but for the tensors whose range we chose.

    One sample at a time: all activations of all samples would not fit into memory.
    """
    common: dict[str, Any] = {"CalibStridedMinMax": 1}
    if chosen:
        common["TensorQuantOverrides"] = {
            name: [{"rmin": np.array(low, np.float32), "rmax": np.array(high, np.float32)}]
            for name, (low, high) in chosen.items()
        }
    return {"per_channel": per_channel, **_scheme_arguments(scheme, common)}


def _scheme_arguments(scheme: str, common: dict[str, Any]) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

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
        raise _not_finite(source, infinite)


def _not_finite(source: Path, tensors: Iterable[str]) -> InferbenchError:
    return InferbenchError(
        "IB-436",
        f"{source.name} computes NaN or infinity on the calibration samples, in"
        f" {', '.join(tensors)}",
        "Exclude the nodes that write or read these (quantization.exclude), or clip them.",
    )
