"""OpenVINO's recipes: takes a model and calibration arrays, gives an IR; knows no cache.

fp16: the weights are stored in fp16, and the device computes in what it has. int8: quantized by
NNCF, with a zero point for activations (a SiLU's are far from symmetric) and 7-bit weights, because
CPUs without VNNI instructions overflow with 8 without a word. What follows the last layer with
weights stays in float. The same inputs build the same bytes. Runs in the worker.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts.build_errors import explained
from pytest_inferbench.artifacts.calibration import Samples
from pytest_inferbench.artifacts.constant_branches import take_constant_branches
from pytest_inferbench.artifacts.node_choice import (
    AFTER_WEIGHTS,
    BY_TYPE,
    EXCLUDED,
    check_excluded,
    grouped,
    nothing_to_do,
)
from pytest_inferbench.backends.openvino_facts import load_openvino, name_of
from pytest_inferbench.backends.openvino_models import read_model
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

_WEIGHTED = frozenset(
    {
        "Convolution",
        "GroupConvolution",
        "ConvolutionBackpropData",
        "GroupConvolutionBackpropData",
        "MatMul",
    }
)
_NO_NODES = frozenset({"Constant", "Parameter", "Result"})


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Array],
) -> dict[str, Any]:
    """Write the model at a precision, and return facts about what was written.

    Args:
        recipe: ``precision``; for int8 also ``method`` ("minmax", "percentile"), its
            ``percentile``, ``per_channel`` for weights, and ``exclude``, names of the ONNX file's
            nodes, or types such as ``op:Softmax``.
        model_path: The fp32 model, ONNX or IR; never written to.
        output_path: The ``.xml`` file to write; the weights go beside it, to ``.bin``.
        calibration: Inputs by name, for int8, stacked on a leading axis of samples.

    Raises:
        InferbenchError: IB-343 a package is missing; IB-344 NNCF does not calibrate so; IB-430 no
            calibration samples; IB-431 they do not fit the inputs; IB-432 an excluded node does
            not exist; IB-433 it could not be built; IB-434 nothing was converted; IB-435 no
            recipe; IB-436 calibration met NaN or infinity; IB-420 the disk is full.
    """
    recipes: dict[str, Callable[..., dict[str, Any]]] = {"fp16": _fp16, "int8": _int8}
    precision = str(recipe["precision"])
    if precision not in recipes:
        raise InferbenchError(
            "IB-435",
            f"no recipe makes {precision} for OpenVINO",
            f"It has {', '.join(recipes)}.",
        )
    source, output = Path(model_path), Path(output_path)
    with explained(precision, source, output):
        facts = recipes[precision](recipe, source, output, calibration)
    files = (output, output.with_suffix(".bin"))
    return {**facts, "bytes": sum(file.stat().st_size for file in files)}


def _fp16(
    _recipe: Mapping[str, Any], source: Path, output: Path, _calibration: Mapping[str, Array]
) -> dict[str, Any]:
    ov = load_openvino()
    model = read_model(str(source))
    floats = _constants(model)["f32"]
    _renumber(model, "read")
    _save(model, output, halves=True)
    written = _constants(ov.Core().read_model(str(output)))
    if not written["f16"]:
        raise nothing_to_do("fp16", source, "it has no fp32 weights")
    return {
        **_counts(model),
        "fp32_tensors": floats,
        "fp16_tensors": written["f16"],
        "left_in_fp32": [{"tensors": written["f32"], "why": "OpenVINO keeps them"}]
        if written["f32"]
        else [],
    }


def _int8(
    recipe: Mapping[str, Any], source: Path, output: Path, calibration: Mapping[str, Array]
) -> dict[str, Any]:
    nncf = _load_nncf()
    method = str(recipe.get("method", "minmax"))
    advanced = _advanced(nncf, recipe)
    model = _folded(source)
    samples = Samples(source, {name_of(port) for port in model.inputs}, calibration, "int8")
    _check_shapes(source, model, calibration)
    ops = model.get_ordered_ops()
    excluded = _excluded(source, ops, list(recipe.get("exclude", [])))
    tail = _tail(ops) - excluded
    kinds = {op.get_friendly_name(): op.get_type_name() for op in ops}
    each = list(iter(samples.get_next, None))
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it draws its progress
        quantized = nncf.quantize(
            model,
            nncf.Dataset(each),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(each),
            ignored_scope=nncf.IgnoredScope(names=sorted(excluded | tail)),
            advanced_parameters=advanced,
        )
    _check_ranges(source, model, quantized, each)
    found = _quantized(quantized)
    if not found:
        raise nothing_to_do("int8", source, "none of its operators could be quantized")
    _renumber(quantized, "added")
    _save(quantized, output, halves=False)
    left = [(kinds[name], EXCLUDED) for name in excluded]
    left += [(kinds[name], AFTER_WEIGHTS) for name in tail]
    return {
        **_counts(quantized),
        "quantized": found,
        "method": method,
        "per_channel": recipe.get("per_channel", True),
        "samples": len(each),
        "left_in_fp32": grouped(left),
    }


def _load_nncf() -> Any:
    load_openvino()
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise InferbenchError(
            "IB-343",
            f"int8 for OpenVINO is made by NNCF, which needs the package {error.name}",
            "`pip install nncf` in that environment, or let ONNX Runtime quantize: set"
            ' quantization.openvino = "qdq".',
        ) from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def _advanced(nncf: Any, recipe: Mapping[str, Any]) -> Any:
    from nncf.quantization import range_estimator as ranges
    from nncf.quantization.advanced_parameters import QuantizationParameters

    method = str(recipe.get("method", "minmax"))
    edge = ranges.StatisticsCollectorParameters(
        statistics_type=ranges.StatisticsType.QUANTILE,
        aggregator_type=ranges.AggregatorType.MEAN,
        quantile_outlier_prob=(1 - float(recipe.get("percentile", 100)) / 100) / 2,
    )
    methods = {
        "minmax": ranges.RangeEstimatorParametersSet.MINMAX,
        "percentile": ranges.RangeEstimatorParameters(min=edge, max=edge),
    }
    if method not in methods:
        raise InferbenchError(
            "IB-344",
            f"NNCF has no calibration by {method}",
            f"Set quantization.method to {' or '.join(methods)}, or let ONNX Runtime quantize: set"
            ' quantization.openvino = "qdq".',
        )
    return nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE,
        activations_range_estimator_params=methods[method],
        weights_quantization_params=QuantizationParameters(
            per_channel=None if recipe.get("per_channel", True) else False
        ),
    )


def _check_shapes(source: Path, model: Any, calibration: Mapping[str, Array]) -> None:
    """Refuse samples of another shape or type: NNCF would fail in the middle, or convert them."""
    for port in model.inputs:
        name, shape = name_of(port), port.get_partial_shape()
        array = calibration[name]
        fits = shape.rank.is_dynamic or (
            len(shape) == array.ndim - 1
            and all(
                dim.is_dynamic or dim.get_length() == size
                for dim, size in zip(shape, array.shape[1:], strict=True)
            )
        )
        if not fits:
            raise InferbenchError(
                "IB-431",
                f"the calibration samples do not fit {source.name}: those of {name} have the shape"
                f" {array.shape[1:]}, and the model takes {shape}",
            )


def _excluded(source: Path, ops: Iterable[Any], exclude: list[str]) -> set[str]:
    """Return the operators that the excluded nodes of the ONNX file became."""
    if not exclude:
        return set()
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InferbenchError(
            "IB-343",
            "quantization.exclude names nodes of the ONNX file, which needs the package onnx",
            "`pip install onnx` in that environment, or exclude nothing.",
        ) from error
    nodes = onnx.load(str(source), load_external_data=False).graph.node
    check_excluded(source, nodes, exclude)
    chosen = {
        tensor
        for node in nodes
        if node.name in exclude or f"{BY_TYPE}{node.op_type}" in exclude
        for tensor in node.output
    }
    found: set[str] = set()
    for op in ops:
        if any(chosen & port.get_names() for port in op.outputs()):
            found |= set(_with_its_parts(op))
    return found


def _with_its_parts(op: Any) -> Iterator[str]:
    """Yield an operator, and those before it that come from the same node of the ONNX file.

    One node may become several, as a Conv with a bias does; only the last has names for what it
    gives.
    """
    waiting = [op]
    while waiting:
        each = waiting.pop()
        if each.get_type_name() in _NO_NODES:
            continue
        yield each.get_friendly_name()
        sources = [port.get_source_output() for port in each.inputs()]
        waiting += [port.get_node() for port in sources if not port.get_names()]


def _tail(ops: Iterable[Any]) -> set[str]:
    """Return the operators behind the last layer with weights.

    Where a detector puts boxes in pixels and probabilities into one tensor, one scale for both
    leaves nothing of the probabilities; and what has no weights gains little from int8.
    """
    ahead: set[str] = set()  # operators from which a layer with weights can still be reached
    tail = set()
    for op in reversed(list(ops)):
        name, kind = op.get_friendly_name(), op.get_type_name()
        if kind in _WEIGHTED or name in ahead:
            ahead.update(
                port.get_source_output().get_node().get_friendly_name() for port in op.inputs()
            )
        elif kind not in _NO_NODES:
            tail.add(name)
    return tail if ahead else set()


def _check_ranges(source: Path, model: Any, quantized: Any, samples: list[Any]) -> None:
    """Refuse what is NaN or infinite on the calibration samples: it would quantize to nonsense.

    NNCF's ranges do not tell: some such values make an empty or a plausible range of them. So the
    fp32 model is run again, and what is quantized is looked at. Adds outputs to the model.
    """
    read = {
        op.input_value(0).get_node().get_friendly_name()
        for op in quantized.get_ordered_ops()
        if op.get_type_name() == "FakeQuantize"
    }
    chosen = [
        op
        for op in model.get_ordered_ops()
        if op.get_friendly_name() in read and op.get_type_name() not in _NO_NODES
    ]
    if not chosen:
        return
    declared = len(model.outputs)
    model.add_outputs([port for op in chosen for port in op.outputs()])
    names = [
        port.get_node().input_value(0).get_node().get_friendly_name() for port in model.outputs
    ]
    pinned = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    request = load_openvino().Core().compile_model(model, "CPU", pinned).create_infer_request()
    infinite: set[str] = set()
    for sample in samples:
        request.infer(dict(enumerate(sample[name_of(port)] for port in model.inputs)))
        infinite |= {
            name
            for index, name in enumerate(names[declared:], declared)
            if not np.isfinite(request.get_output_tensor(index).data).all()
        }
    if infinite:
        raise InferbenchError(
            "IB-436",
            f"{source.name} computes NaN or infinity on the calibration samples, in"
            f" {', '.join(sorted(infinite))}",
            "Exclude the nodes that write or read these (quantization.exclude), or clip them.",
        )


def _quantized(model: Any) -> dict[str, int]:
    """Count, by type, the operators that have quantized weights, or read quantized data."""
    found = Counter(
        op.get_type_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() not in _NO_NODES
        and any(_is_quantized(port.get_source_output().get_node()) for port in op.inputs())
    )
    return dict(sorted(found.items()))


def _is_quantized(op: Any) -> bool:
    """Whether an operator gives data that was quantized: FakeQuantize, or a scaled integer."""
    if op.get_type_name() == "Multiply":  # weights: integers, converted, their zero point, scaled
        while op.get_type_name() in ("Multiply", "Subtract", "Convert"):
            op = op.input_value(0).get_node()
        is_integer = bool(op.get_element_type().is_integral_number())
        return op.get_type_name() == "Constant" and is_integer
    return str(op.get_type_name()) == "FakeQuantize"


def _folded(source: Path) -> Any:
    """Read a model and fold its constants.

    Where the batch is dynamic, a layer's bias reaches it through a chain of operators, and NNCF
    knows neither the bias nor what it could fuse. What a branch's constant condition decides is
    known then too.
    """
    from openvino.passes import ConstantFolding, Manager

    model = read_model(str(source))
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    if take_constant_branches(model):
        manager.run_passes(model)
    _renumber(model, "read")
    return model


def _renumber(model: Any, infix: str) -> None:
    """Make names, which an IR holds, independent of what else this process has built.

    OpenVINO numbers the operators that it adds over the life of the process.
    """
    for index, op in enumerate(model.get_ordered_ops()):
        kind, _, number = op.get_friendly_name().rpartition("_")
        numbered = number.isdecimal() and not kind.endswith("_read")
        if numbered and not any(port.get_names() for port in op.outputs()):
            op.set_friendly_name(f"{op.get_type_name()}_{infix}_{index}")


def _save(model: Any, output: Path, *, halves: bool) -> None:
    load_openvino().save_model(model, str(output), compress_to_fp16=halves)


def _constants(model: Any) -> Counter[str]:
    return Counter(
        op.get_element_type().get_type_name()
        for op in model.get_ops()
        if op.get_type_name() == "Constant"
    )


def _counts(model: Any) -> dict[str, Any]:
    ops = Counter(op.get_type_name() for op in model.get_ops())
    return {"nodes": sum(ops.values()), "ops": dict(sorted(ops.items()))}
