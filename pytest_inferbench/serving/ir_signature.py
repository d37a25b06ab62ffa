"""What an OpenVINO IR takes and gives, read without OpenVINO: takes its XML's path, gives specs."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError

_TYPES = {
    "FP64": "float64",
    "FP32": "float32",
    "FP16": "float16",
    "BF16": "bfloat16",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
    "BOOLEAN": "bool",
    "STRING": "string",
}


def read_ir(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs, by the first of their names.

    Raises:
        InferbenchError: It is no IR, or something in it has no name (IB-806).
    """
    try:
        root = ElementTree.parse(path).getroot()
        layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
        feeds = {
            edge.attrib["to-layer"]: (edge.attrib["from-layer"], edge.attrib["from-port"])
            for edge in root.iterfind("edges/edge")
        }
        inputs = [
            _spec(port)
            for layer in layers.values()
            if layer.attrib["type"] == "Parameter"
            for port in layer.iterfind("output/port")
        ]
        outputs = []
        for id_, layer in layers.items():
            if layer.attrib["type"] == "Result":
                source, port_id = feeds[id_]
                ports = layers[source].iterfind("output/port")
                outputs += [_spec(port) for port in ports if port.attrib["id"] == port_id]
    except (OSError, KeyError, ValueError, ElementTree.ParseError) as error:
        raise InferbenchError("IB-806", f"{path} is no IR that can be served: {error!r}") from error
    return tuple(inputs), tuple(outputs)


def _spec(port: ElementTree.Element) -> TensorSpec:
    names = port.attrib.get("names", "").replace("\\,", "\0").split(",")
    if not names[0]:
        raise ValueError("an input or output of it has no name")
    shape = tuple(int(dim.text or -1) for dim in port.iterfind("dim"))
    return TensorSpec(names[0].replace("\0", ","), _TYPES[port.attrib["precision"]], shape)
