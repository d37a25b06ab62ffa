"""A TensorRT network: takes an ONNX file, gives the parsed network, or every fault by node.

Knows neither engines nor devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.trt_errors import ParserFault, parse_error
from pytest_inferbench.backends.trt_flavour import Flavour
from pytest_inferbench.errors import InferbenchError

_PRECISIONS = {
    "FLOAT": "fp32",
    "HALF": "fp16",
    "BF16": "bf16",
    "INT8": "int8",
    "FP8": "fp8",
    "INT4": "int4",
    "FP4": "fp4",
}
_WEIGHTED = frozenset({"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM"})
_MOVES = frozenset(
    {"ASSERTION", "CAST", "CONCATENATION", "CONDITION", "CONSTANT", "DEQUANTIZE", "GATHER"}
    | {"DYNAMIC_QUANTIZE", "IDENTITY", "PADDING", "QUANTIZE", "SHAPE", "SHUFFLE", "SLICE"}
    | {"SQUEEZE", "UNSQUEEZE"}
)
_NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


@dataclass(frozen=True)
class Parsed:
    """A network, and the parser that owns its weights."""

    network: Any
    parser: Any

    @property
    def inputs(self) -> list[Any]:
        """The runtime's own inputs."""
        return [self.network.get_input(index) for index in range(self.network.num_inputs)]

    @property
    def outputs(self) -> list[Any]:
        """The runtime's own outputs."""
        return [self.network.get_output(index) for index in range(self.network.num_outputs)]

    @property
    def layers(self) -> Iterator[Any]:
        """The runtime's own layers."""
        return (self.network.get_layer(index) for index in range(self.network.num_layers))


def parse(flavour: Flavour, builder: Any, model: Path, log: Any, *, weak: bool) -> Parsed:
    """Read an ONNX file.

    Args:
        flavour: The TensorRT that reads it.
        builder: Its builder.
        model: The file; weights beside it are found.
        log: From `make_log`.
        weak: Whether flags choose the precision; where nothing else is known, the graph does.

    Raises:
        InferbenchError: IB-326 there is no such file; IB-362 it cannot be parsed.
    """
    trt = flavour.trt
    if not model.is_file():
        raise InferbenchError("IB-326", f"there is no file {model}")
    flags = 0
    if not weak and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(model)):
        faults = [_fault(parser.get_error(index)) for index in range(parser.num_errors)]
        raise parse_error(f"{flavour.name} {flavour.version}", model.name, faults)
    return Parsed(network, parser)


def precisions(parsed: Parsed) -> dict[str, int]:
    """Count the layers that compute, by the type that the graph has them compute in.

    A layer with weights between Q/DQ nodes counts as what the nodes quantize to: that is what
    the pattern means to a builder. Layers that only move data, or compute shapes, do not count.
    """
    makers = {
        layer.get_output(index).name: layer
        for layer in parsed.layers
        for index in range(layer.num_outputs)
    }
    counted: Counter[str] = Counter()
    for layer in parsed.layers:
        kind = layer.type.name
        if kind in _MOVES or not layer.num_outputs:
            continue
        quantized = _quantized(layer, makers) if kind in _WEIGHTED else ""
        precision = quantized or _PRECISIONS.get(layer.get_output(0).dtype.name, "")
        if precision:
            counted[precision] += 1
    return dict(sorted(counted.items()))


def specs(tensors: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Return a network's inputs or outputs as the contract has them."""
    return tuple(
        TensorSpec(each.name, numpy_name(each.dtype), tuple(int(size) for size in each.shape))
        for each in tensors
    )


def numpy_name(dtype: Any) -> str:
    """Return numpy's name of a type.

    Raises:
        InferbenchError: It has none (IB-326).
    """
    if dtype.name not in _NUMPY:
        raise InferbenchError(
            "IB-326",
            f"an input or output is of type {dtype.name}, which numpy does not have",
            "Export the model with inputs and outputs of fp32.",
        )
    return _NUMPY[dtype.name]


def _quantized(layer: Any, makers: dict[str, Any]) -> str:
    """Return what the inputs of a layer with weights are quantized to; empty if they are not."""
    found = set()
    for index in range(min(2, layer.num_inputs)):
        tensor = layer.get_input(index)
        maker = makers.get(tensor.name) if tensor is not None else None
        if maker is None or maker.type.name != "DEQUANTIZE":
            return ""
        found.add(_PRECISIONS.get(maker.get_input(0).dtype.name, ""))
    return found.pop() if len(found) == 1 else ""


def _fault(error: Any) -> ParserFault:
    return ParserFault(error.node(), error.node_name(), error.node_operator(), error.desc())
