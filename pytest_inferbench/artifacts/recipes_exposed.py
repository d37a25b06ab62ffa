"""OpenVINO's IR with its inside laid open: takes an IR, gives one with other inputs and outputs.

The IR itself is changed and nothing is quantized again, so what is looked at is what the cell runs.
Ports are named by their operator and their number there. Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pytest_inferbench.backends.openvino_facts import DTYPES, load_openvino, name_of

_Facts = dict[str, Any]


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    _calibration: Mapping[str, npt.NDArray[Any]],
) -> dict[str, Any]:
    """Tell what an IR is made of, or write one with other inputs and outputs.

    Args:
        recipe: ``way``: "outline" tells the operators in topological order, and writes nothing;
            "exposed" adds the outputs ``ports``; "cut" has the outputs ``ports`` alone and takes
            ``cuts`` as inputs, each a port and its shape. A port is [operator, number].
        model_path: The ``.xml`` file; never written to.
        output_path: The ``.xml`` file to write.
    """
    ways: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
        "exposed": _exposed,
        "cut": _cut,
    }
    model = load_openvino().Core().read_model(model_path)
    way = str(recipe["way"])
    if way == "outline":
        return _outline(model)
    changed = ways[way](model, recipe)
    Path(output_path).parent.mkdir(parents=True, exist_ok=True)
    load_openvino().save_model(changed, output_path, compress_to_fp16=False)
    return {}


def _outline(model: Any) -> _Facts:
    return {
        "ops": [
            {
                "name": op.get_friendly_name(),
                "type": op.get_type_name(),
                "reads": [
                    [port.get_source_output().get_node().get_friendly_name(), port_of(port)]
                    for port in op.inputs()
                ],
                "outputs": [
                    {
                        "names": sorted(port.get_names()),
                        "dtype": DTYPES.get(str(port.get_element_type().get_type_name()), ""),
                    }
                    for port in op.outputs()
                ],
            }
            for op in model.get_ordered_ops()
        ],
        "inputs": [[port.get_node().get_friendly_name(), name_of(port)] for port in model.inputs],
    }


def port_of(port: Any) -> int:
    """Return the number of the output that an input reads."""
    return int(port.get_source_output().get_index())


def _exposed(model: Any, recipe: Mapping[str, Any]) -> Any:
    ports = _ports(model, recipe["ports"])
    for number, port in enumerate(ports):
        port.get_tensor().set_names({f"exposed_{number}"})
    for number, result in enumerate(model.add_outputs(ports)):
        result.get_node().set_friendly_name(f"exposed_{number}")
    return model


def _cut(model: Any, recipe: Mapping[str, Any]) -> Any:
    ov = load_openvino()
    wanted = _ports(model, recipe["ports"])
    added = []
    for number, (place, shape) in enumerate(recipe["cuts"]):
        (port,) = _ports(model, [place])
        parameter = ov.opset13.parameter(ov.PartialShape(shape), port.get_element_type())
        parameter.set_friendly_name(f"fed_{number}")
        for reader in port.get_target_inputs():
            reader.replace_source_output(parameter.output(0))
        parameter.output(0).get_tensor().set_names({f"fed_{number}"})
        added.append(parameter)
    results = []
    for number, port in enumerate(wanted):
        result = ov.opset13.result(port)
        port.get_tensor().set_names({f"exposed_{number}"})
        result.set_friendly_name(f"exposed_{number}")
        results.append(result)
    reached = _behind(results)
    parameters = [*(port.get_node() for port in model.inputs), *added]
    return ov.Model(results, [each for each in parameters if each.get_friendly_name() in reached])


def _ports(model: Any, places: Any) -> list[Any]:
    ops = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    return [ops[name].output(number) for name, number in places]


def _behind(results: list[Any]) -> set[str]:
    """Return the names of all operators that results are computed by."""
    found: set[str] = set()
    waiting = list(results)
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() not in found:
            found.add(op.get_friendly_name())
            waiting += [port.get_source_output().get_node() for port in op.inputs()]
    return found
