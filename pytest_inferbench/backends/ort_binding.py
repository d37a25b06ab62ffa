"""Ways to call a session: takes it and arrays, gives outputs, or calls to time on a device.

A bound call copies nothing between host and device. It returns when the device is done: ONNX
Runtime waits for its stream at the end of each run unless a run option says otherwise, and
replaying a captured CUDA graph does so too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.ort_tensors import fed, fetched, is_plain
from pytest_inferbench.errors import InferbenchError


@dataclass(frozen=True)
class Device:
    """Where tensors are bound.

    Attributes:
        kind: The runtime's name for it, such as ``cuda``.
        number: Which of them.
    """

    kind: str
    number: int = 0


def run_once(
    ort: Any,
    session: Any,
    inputs: Mapping[TensorSpec, Array],
    outputs: Sequence[TensorSpec],
) -> dict[str, Array]:
    """Run from the host's memory to the host's memory.

    Raises:
        InferbenchError: Text and types that numpy lacks are mixed (IB-334).
    """
    names = [spec.name for spec in outputs]
    feed = {spec.name: fed(ort, spec, array) for spec, array in inputs.items()}
    specs = (*inputs, *outputs)
    if can_bind(specs) and not all(map(is_plain, specs)):
        make = ort.OrtValue.ortvalue_from_numpy
        values = {n: each if hasattr(each, "data_ptr") else make(each) for n, each in feed.items()}
        results = session.run_with_ort_values(names, values)
    elif all(is_plain(spec) or spec.dtype == "string" for spec in specs):
        results = session.run(names, feed)
    else:
        strange = next(s for s in specs if not is_plain(s) and s.dtype != "string")
        raise InferbenchError(
            "IB-334",
            f"{strange.name!r} is {strange.dtype}, which ONNX Runtime's Python interface cannot"
            " pass along with text",
        )
    return {spec.name: fetched(spec, each) for spec, each in zip(outputs, results, strict=True)}


def can_bind(specs: Sequence[TensorSpec]) -> bool:
    """Whether all of these can be on a device; text cannot."""
    return all(spec.dtype != "string" for spec in specs)


def bind(
    ort: Any,
    session: Any,
    inputs: Mapping[TensorSpec, Array],
    outputs: Sequence[TensorSpec],
    device: Device,
) -> tuple[Any, dict[str, Any]]:
    """Return a binding with its inputs on the device, and those values; outputs are made there."""
    binding = session.io_binding()
    values = {}
    for spec, array in inputs.items():
        if is_plain(spec):
            value = ort.OrtValue.ortvalue_from_numpy(array, device.kind, device.number)
        else:
            value = fed(ort, spec, array)  # on the host; binding it copies it to the device
        binding.bind_ortvalue_input(spec.name, value)
        values[spec.name] = value
    for spec in outputs:
        binding.bind_output(spec.name, device.kind, device.number)
    binding.synchronize_inputs()
    return binding, values
