"""ONNX Runtime's recipes: takes a model and calibration arrays, gives an ONNX file; knows no cache.

fp16: ONNX Runtime's own converter, with fp32 inputs and outputs. int8: Q/DQ, static, per channel,
unsigned activations and signed 7-bit weights: on x86 that is the fastest pair of types, and with
8-bit weights CPUs without VNNI instructions overflow without a word. What follows the last layer
with weights stays in float. The same inputs build the same bytes. Runs in the worker.
"""

from __future__ import annotations

import difflib
import errno
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.artifacts.inspect import all_tensors
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

_HIGHEST_IR = 10
_LARGE_BYTES = 1 << 30  # above it weights go beside the file, well below protobuf's 2 GiB
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_QDQ_OPSETS = (13, 21)  # the first with scales per channel, the last that old runtimes have


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Array],
) -> dict[str, Any]:
    """Write the model at a precision, and return facts about what was written.

    Args:
        recipe: ``precision``, and for int8 ``method`` and ``exclude``.
        model_path: The fp32 model; never written to.
        output_path: The file to write; large weights go to `<output_path>.data`.
        calibration: Inputs by name, for int8, stacked on a leading axis of samples.

    Raises:
        InferbenchError: IB-430 no calibration samples; IB-431 they do not fit the inputs; IB-432
            an excluded node does not exist; IB-433 ONNX Runtime could not build it, or refuses
            what it built; IB-434 nothing was converted; IB-435 no recipe; IB-436
            calibration met NaN or infinity; IB-420 the disk is full.
    """
    recipes: dict[str, Callable[..., dict[str, Any]]] = {"fp16": _fp16, "int8": _int8}
    precision = str(recipe["precision"])
    if precision not in recipes:
        why = "; ONNX Runtime has no bf16 kernels on CPU" if precision == "bf16" else ""
        raise InferbenchError(
            "IB-435",
            f"no recipe makes {precision} for ONNX Runtime{why}",
            f"It has {', '.join(recipes)}.",
        )
    source, output = Path(model_path), Path(output_path)
    # The quantizer prints its progress, and nobody reads it.
    with _explained(precision, source, output), redirect_stdout(io.StringIO()):
        facts = recipes[precision](recipe, source, output, calibration)
        _try_opening(output)
    files = (output, _data_file(output))
    return {**facts, "bytes": sum(file.stat().st_size for file in files if file.exists())}


def _fp16(
    _recipe: Mapping[str, Any], source: Path, output: Path, _calibration: Mapping[str, Array]
) -> dict[str, Any]:
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    large = _is_large(source)
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=output.parent) as scratch:
        model = onnx.load(str(_prepared(source, Path(scratch), large)))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"  # casts are named after their nodes
    floats = sum(tensor.data_type == onnx.TensorProto.FLOAT for tensor in all_tensors(model))
    model = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in all_tensors(model))
    ONNXModel(model).topological_sort()  # the converter appends its casts at the end
    casts = sum("_cast" in node.name for node in model.graph.node if node.op_type == "Cast")
    if casts == 0:
        raise _nothing("fp16", source, "it computes nothing in fp32")
    _save(model, output, large)
    return {**_counts(model), "fp32_tensors": floats, "fp16_tensors": halves, "casts": casts}


def _at_opset(model: Any, lowest: int, highest: int) -> Any:
    """Bring a model into a range of opsets, unless it uses what only newer ones have."""
    from onnx.version_converter import ConvertError, convert_version

    opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    wanted = min(max(opset, lowest), highest)
    if wanted == opset:
        return model
    try:
        return convert_version(model, wanted)
    except (ConvertError, RuntimeError, ValueError):
        if wanted > opset:
            raise
        return model


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


def _int8(
    recipe: Mapping[str, Any], source: Path, output: Path, calibration: Mapping[str, Array]
) -> dict[str, Any]:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    exclude = list(recipe.get("exclude", []))
    method = str(recipe.get("method", "minmax"))
    large = _is_large(source)
    graph = onnx.load(str(source), load_external_data=False).graph
    _check_excluded(source, {node.name for node in graph.node}, exclude)
    weights = {initializer.name for initializer in graph.initializer}
    samples = _Samples(source, {each.name for each in graph.input} - weights, calibration)
    with tempfile.TemporaryDirectory(prefix=".prepared-", dir=output.parent) as scratch:
        prepared = _prepared(source, Path(scratch), large, opsets=_QDQ_OPSETS)
        quantize_static(
            str(prepared),
            str(output),
            samples,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*exclude, *_tail(prepared)],
            calibrate_method=methods[method],
            use_external_data_format=large,
            # One sample at a time: all activations of all samples would not fit into memory.
            extra_options={"CalibStridedMinMax": 1},
        )
    model = onnx.load(str(output), load_external_data=False)
    _check_ranges(source, model)
    quantized = _quantized_ops(model)
    if not quantized:
        raise _nothing("int8", source, "none of its operators could be quantized")
    _save(model, output, large=False)  # its weights, if beside it, stay where they are
    return {**_counts(model), "quantized": quantized, "method": method, "samples": len(samples)}


def _tail(prepared: Path) -> list[str]:
    """Return the nodes behind the last layer with weights: they stay in float.

    Where a detector puts boxes in pixels and probabilities into one tensor, one scale for both
    leaves nothing of the probabilities; and what has no weights gains little from int8.
    """
    import onnx

    model = onnx.load(str(prepared), load_external_data=False)
    nodes = model.graph.node
    if not all(node.name for node in nodes):  # nodes are left out by name
        for index, node in enumerate(nodes):
            node.name = node.name or f"{node.op_type}_{index}"
        onnx.save(model, str(prepared))
    ahead: set[str] = set()  # tensors from which a layer with weights can still be reached
    tail = []
    for node in reversed(nodes):
        if node.op_type in _WEIGHTED or ahead.intersection(node.output):
            ahead.update(node.input)
        else:
            tail.append(node.name)
    return tail if ahead else []


def _prepared(
    source: Path, scratch: Path, large: bool, opsets: tuple[int, int] | None = None
) -> Path:
    """Fold constants and functions, and infer the type of every tensor.

    Symbolic shape inference is left out: it would make the result depend on an optional package.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    loaded = onnx.load(str(source))
    fixed = _with_constant_weights(loaded)
    model = _at_opset(loaded, *opsets) if opsets else loaded
    if fixed or model is not loaded:
        source = scratch / "fixed.onnx"
        _save(model, source, large)
    del loaded, model
    prepared = scratch / "prepared.onnx"
    quant_pre_process(
        str(source),
        str(prepared),
        skip_symbolic_shape=True,
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        external_data_location=f"{prepared.name}.data" if large else None,
    )
    return prepared


class _Samples:
    """Feeds calibration samples; the interface is ONNX Runtime's `CalibrationDataReader`."""

    def __init__(self, source: Path, inputs: set[str], calibration: Mapping[str, Array]) -> None:
        self._arrays = dict(calibration)
        lengths = {len(array) if array.ndim else 0 for array in self._arrays.values()} or {0}
        if 0 in lengths:
            raise InferbenchError(
                "IB-430",
                f"there are no calibration samples for {source.name}, and int8 needs some",
                "Set the model's `calibration` to a folder that has samples.",
            )
        if inputs != set(calibration) or len(lengths) > 1:
            given = ", ".join(f"{len(array)} of {name}" for name, array in calibration.items())
            raise InferbenchError(
                "IB-431",
                f"the calibration samples do not fit {source.name}: there are {given}, and the"
                f" model takes {', '.join(sorted(inputs))}",
                "Give every input as many samples as the others.",
            )
        for name, array in self._arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InferbenchError(
                    "IB-431", f"calibration samples of the input {name!r} hold NaN or infinity"
                )
        self._length = lengths.pop()
        self.set_range(0, self._length)

    def __len__(self) -> int:
        return self._length

    def set_range(self, start_index: int, end_index: int) -> None:
        self._order = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Array] | None:
        index = next(self._order, None)
        return None if index is None else {name: a[index, ...] for name, a in self._arrays.items()}


def _check_excluded(source: Path, names: set[str], exclude: list[str]) -> None:
    for name in exclude:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise InferbenchError(
                "IB-432",
                f"{source.name} has no node {name!r} to exclude from quantization"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                "Correct the model's quantization.exclude.",
            )


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


def _is_large(source: Path) -> bool:
    import onnx
    from onnx.external_data_helper import uses_external_data

    if source.stat().st_size > _LARGE_BYTES:
        return True
    return any(
        map(uses_external_data, all_tensors(onnx.load(str(source), load_external_data=False)))
    )


def _save(model: Any, output: Path, large: bool) -> None:
    """Write a model that declares no newer a format than it needs."""
    import onnx

    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = max(needed, min(model.ir_version, _HIGHEST_IR))
    if large:
        _data_file(output).unlink(missing_ok=True)  # onnx would append to it
    onnx.save(
        model,
        str(output),
        save_as_external_data=large,
        location=_data_file(output).name if large else None,
    )


def _data_file(output: Path) -> Path:
    return output.parent / f"{output.name}.data"


def _try_opening(output: Path) -> None:
    """Have the graph type-checked by the one who must run it, before anything trusts it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    ort.InferenceSession(str(output), options, ["CPUExecutionProvider"])


@contextmanager
def _explained(precision: str, source: Path, output: Path) -> Iterator[None]:
    """Name what failed; ONNX Runtime and onnx raise whatever they like."""
    try:
        yield
    except InferbenchError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InferbenchError(
                "IB-420",
                f"the disk is full: {source.name} at {precision} did not fit into {output.parent}",
                "Make room (`inferbench cache --clear`), or set INFERBENCH_CACHE to another disk.",
            ) from error
        raise InferbenchError(
            "IB-433",
            f"{source.name} could not be built at {precision}: {type(error).__name__}: {error}",
            "If calibration failed, check that the samples fit the model's inputs; else exclude"
            f" the node that is named, or leave {precision} out of the model's precisions.",
        ) from error


def _nothing(precision: str, source: Path, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-434",
        f"{source.name} at {precision} would be the same model: {why}",
        f"Leave {precision} out of the model's precisions.",
    )


def _counts(model: Any) -> dict[str, Any]:
    ops = Counter(node.op_type for node in model.graph.node)
    return {"nodes": len(model.graph.node), "ops": dict(sorted(ops.items()))}


def _quantized_ops(model: Any) -> dict[str, int]:
    """Count, by type, the operators that read quantized data."""
    dequantized = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    ops = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type != "QuantizeLinear" and dequantized.intersection(node.input)
    )
    return dict(sorted(ops.items()))
