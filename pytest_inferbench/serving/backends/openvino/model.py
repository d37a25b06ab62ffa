"""Triton's `openvino` backend in Python, where the native one is not: runs an IR or an ONNX file.

It reads the same configuration as the native backend, so that one repository serves in both. It
runs in the server's own Python, never in this project's processes: it imports what that one has.
Requests that the server joined are run as one batch and answered one by one, each with its rows.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from batching import outcomes  # type: ignore[import-not-found]

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # nothing else does

import openvino as ov  # noqa: E402

Tensors = dict[str, Any]

_HINTS = {
    "PERFORMANCE_HINT": str,
    "INFERENCE_NUM_THREADS": int,
    "NUM_STREAMS": str,
    "INFERENCE_PRECISION_HINT": str,
}


class TritonPythonModel:
    """One instance of a model; the names of its methods are Triton's."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Compile the model."""
        if int(np.__version__.partition(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"numpy {np.__version__} reads wrong values in this server: it needs numpy < 2"
            )
        config = json.loads(args["model_config"])
        parameters = {key: each["string_value"] for key, each in config["parameters"].items()}
        folder = os.path.join(args["model_repository"], args["model_version"])  # noqa: PTH118
        path = os.path.join(folder, config["default_model_filename"] or "model.xml")  # noqa: PTH118
        device = "GPU" if args["model_instance_kind"] == "GPU" else "CPU"
        # fp32 means fp32: a CPU with AMX would take bfloat16.
        chosen = {"INFERENCE_PRECISION_HINT": "f32"} if device == "CPU" else {}
        chosen |= {key: kind(parameters[key]) for key, kind in _HINTS.items() if key in parameters}
        model = ov.Core().compile_model(path, device, chosen)
        self._request = model.create_infer_request()
        self._names = {each["name"] for each in config["input"]}
        self._outputs = [each["name"] for each in config["output"]]
        self._is_batched = config["max_batch_size"] > 0
        self._known = {name for each in model.inputs for name in each.get_names()}

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request."""
        inputs = [
            {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            for request in requests
        ]
        given = outcomes(inputs, self._once, self._is_batched)
        return [answer(*each) for each in zip(requests, given, strict=True)]

    def _once(self, inputs: Tensors) -> Tensors:
        # What a graph does not use has vanished from it.
        self._request.infer({name: each for name, each in inputs.items() if name in self._known})
        return {name: np.array(self._request.get_tensor(name).data) for name in self._outputs}


def answer(request: Any, outputs: Tensors | Exception) -> Any:
    """Return the response to a request."""
    if isinstance(outputs, Exception):
        words = f"{type(outputs).__name__}: {outputs}"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(words))
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, each) for name, each in outputs.items() if name in wanted]
    )
