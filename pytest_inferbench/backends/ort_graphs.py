"""CUDA graphs of a session: takes it and arrays, gives replays; knows no options."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.ort_binding import Device, bind
from pytest_inferbench.backends.ort_tensors import is_plain
from pytest_inferbench.errors import InferbenchError

_NO_GRAPH = "-1"


@dataclass(frozen=True)
class _Captured:
    run: Callable[[], object]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class CudaGraphs:
    """The graphs that a session has captured: one for each set of shapes, and each timed input.

    A graph replays fixed addresses, so inputs are updated in place and outputs are copied out.
    It must be used by one thread at a time.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        device: Device,
    ) -> None:
        self._ort, self._session, self._device = ort, session, device
        self._inputs, self._outputs = inputs, outputs
        self._captured: dict[object, _Captured] = {}
        self._numbers = itertools.count(1)
        strange = [spec for spec in (*inputs, *outputs) if not is_plain(spec)]
        if strange:
            raise InferbenchError(
                "IB-331",
                f"{strange[0].name!r} is {strange[0].dtype}, which a CUDA graph cannot be given",
                "Leave `cuda_graph` out for this model.",
            )

    def infer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Copy inputs in, replay, copy outputs out."""
        captured = self._graph(tuple(array.shape for array in arrays.values()), arrays)
        for name, array in arrays.items():
            captured.inputs[name].update_inplace(array)
        captured.run()
        return {name: value.numpy() for name, value in captured.outputs.items()}

    def prepare(self, arrays: Mapping[str, Array]) -> Callable[[], object]:
        """Return the replay on these inputs, which stay on the device."""
        digest = hashlib.blake2b()
        for array in arrays.values():
            digest.update(repr(array.shape).encode() + array.tobytes())
        return self._graph(digest.digest(), arrays).run

    def _graph(self, key: object, arrays: Mapping[str, Array]) -> _Captured:
        if key not in self._captured:
            try:
                self._captured[key] = self._capture(arrays)
            except Exception as error:
                raise InferbenchError(
                    "IB-331",
                    f"ONNX Runtime {self._ort.__version__} could not capture a CUDA graph: {error}",
                    "Outputs' shapes must follow from those of the inputs, and every node must run"
                    " on the GPU. Else leave `cuda_graph` out.",
                ) from error
        return self._captured[key]

    def _capture(self, arrays: Mapping[str, Array]) -> _Captured:
        given = {spec: arrays[spec.name] for spec in self._inputs}
        binding, inputs = bind(self._ort, self._session, given, self._outputs, self._device)
        # A run without capture tells the shapes of outputs, which a graph must have beforehand.
        self._session.run_with_iobinding(binding, self._run_options(_NO_GRAPH))
        shapes = [value.shape() for value in binding.get_outputs()]
        outputs = {}
        for spec, shape in zip(self._outputs, shapes, strict=True):
            value = self._ort.OrtValue.ortvalue_from_shape_and_type(
                shape, spec.dtype, self._device.kind, self._device.number
            )
            binding.bind_ortvalue_output(spec.name, value)
            outputs[spec.name] = value
        chosen = self._run_options(str(next(self._numbers)))
        run = self._session.run_with_iobinding
        for _ in range(2):  # captures, then replays
            run(binding, chosen)
        return _Captured(lambda: run(binding, chosen), inputs, outputs)

    def _run_options(self, graph: str) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", graph)
        return options
