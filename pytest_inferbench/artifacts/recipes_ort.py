"""ONNX Runtime's recipes: takes a model and calibration arrays, gives an ONNX file; knows no cache.

Inputs and outputs stay fp32, and the same inputs build the same bytes. How each precision is made
stands in `halves` (fp16, bf16) and `quantize` (int8, fp8). Runs in the worker.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pytest_inferbench.artifacts.build_errors import explained
from pytest_inferbench.artifacts.graph_files import data_file
from pytest_inferbench.artifacts.halves import to_bf16, to_fp16
from pytest_inferbench.artifacts.quantize import quantize
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

_RECIPES: Mapping[str, Callable[..., dict[str, Any]]] = {
    "fp16": to_fp16,
    "bf16": to_bf16,
    "int8": quantize,
    "fp8": quantize,
}
_OPENS_WITH = {"fp16": "ort-cpu", "int8": "ort-cpu", "fp8": "ort-cpu"}


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Array],
) -> dict[str, Any]:
    """Write the model at a precision, and return facts about what was written.

    Args:
        recipe: ``precision``; ``scheme``, "cpu" or "trt", for int8 and bf16; for int8 and fp8
            ``method``, its ``percentile``, and ``per_channel`` for weights; ``exclude``, names of
            nodes, or types such as ``op:Softmax``, to leave in fp32; ``opens_with``,
            "ort-cpu" if ONNX Runtime's CPU must be able to run it.
        model_path: The fp32 model; never written to.
        output_path: The file to write; large weights go to `<output_path>.data`.
        calibration: Inputs by name, for int8 and fp8, stacked on a leading axis of samples.

    Returns:
        ``bytes``, ``nodes``, ``ops``, ``precisions`` (nodes that compute, by precision),
        ``left_in_fp32`` (operators, how many, and why), and what belongs to the precision.

    Raises:
        InferbenchError: IB-430 no calibration samples; IB-431 they do not fit the inputs; IB-432
            an excluded node does not exist; IB-433 ONNX Runtime could not build it, or refuses
            what it built; IB-434 nothing was converted; IB-435 no recipe; IB-436
            calibration met NaN or infinity; IB-437 no such scheme; IB-420 the disk is full.
    """
    precision = str(recipe["precision"])
    if precision not in _RECIPES:
        raise InferbenchError(
            "IB-435",
            f"no recipe makes {precision} for ONNX Runtime",
            f"It has {', '.join(_RECIPES)}.",
        )
    source, output = Path(model_path), Path(output_path)
    # The quantizer prints its progress, and nobody reads it.
    with explained(precision, source, output), redirect_stdout(io.StringIO()):
        facts = _RECIPES[precision](recipe, source, output, calibration)
        _try_opening(output, recipe.get("opens_with", _OPENS_WITH.get(precision)))
    files = (output, data_file(output))
    return {**facts, "bytes": sum(file.stat().st_size for file in files if file.exists())}


def _try_opening(output: Path, opens_with: object) -> None:
    """Have ONNX Runtime check the graph's types, before anything trusts it.

    Its CPU provider has no bf16 kernels, and says so only after the types were found right: that
    much is a check for every target.
    """
    import onnxruntime as ort
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    options = ort.SessionOptions()
    options.log_severity_level = 4 if opens_with is None else 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(str(output), options, ["CPUExecutionProvider"])
    except NoKernel:
        if opens_with is not None:
            raise
