"""Reads a file for OpenVINO: takes a path, gives a model with the inputs that its ONNX declares.

OpenVINO makes a constant of an input that can only be empty, and renames one that it hands to an
output as it is. Both are put right here, and stay so in an IR that is written of the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_inferbench.backends.openvino_facts import load_openvino

_IR = ".xml"


def read_model(path: str) -> Any:
    """Read an IR (``.xml``) or ONNX file.

    Raises:
        Exception: Whatever OpenVINO raises for a file that it cannot read.
    """
    ov = load_openvino()
    if Path(path).suffix == _IR:
        model = ov.Core().read_model(path)
        given = {name for port in model.outputs for name in port.get_names()}
        for port in model.inputs:
            if port.get_names() <= given:  # an IR keeps the input's own name for the node alone
                port.tensor.add_names({port.get_node().get_friendly_name()})
        return model
    from openvino.frontend import FrontEndManager

    # By name: tried in turn, the others would complain about a broken file on stderr.
    frontend = FrontEndManager().load_by_framework("onnx")
    source = frontend.load(path)
    declared = [
        (place.get_names()[0], source.get_partial_shape(place), source.get_element_type(place))
        for place in source.get_inputs()
    ]
    model = frontend.convert(source)
    _restore(model, declared)
    return model


def _restore(model: Any, declared: list[tuple[str, Any, Any]]) -> None:
    """Give a model the inputs that were declared; an added one feeds nothing."""
    from openvino import opset1

    named = {name for port in model.inputs for name in port.get_names()}
    missing = [each for each in declared if each[0] not in named]
    names = {name for name, _, _ in declared}
    renamed = [port for port in model.inputs if not names & port.get_names()]
    moved = [each for each in missing if not _is_empty(each[1])]
    if len(moved) == len(renamed):  # OpenVINO keeps their order
        for port, (name, _, _) in zip(renamed, moved, strict=True):
            port.tensor.add_names({name})
            port.get_node().set_friendly_name(name)
    for name, shape, kind in missing:
        if _is_empty(shape):
            parameter = opset1.parameter(shape, kind, name=name)
            parameter.output(0).tensor.set_names({name})
            model.add_parameters([parameter])


def _is_empty(shape: Any) -> bool:
    return shape.is_static and 0 in shape.to_shape()
