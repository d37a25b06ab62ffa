"""Triton's `onnxruntime` backend in Python, where the native one is not: runs `1/model.onnx`.

It reads the same configuration as the native backend, so that one repository serves in both. It
runs in the server's own Python, never in this project's processes: it imports what that one has.
Requests that the server joined are run as one batch and answered one by one, each with its rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from batching import outcomes  # type: ignore[import-not-found]

_PROVIDERS = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}
_MODES = {"0": ort.ExecutionMode.ORT_SEQUENTIAL, "1": ort.ExecutionMode.ORT_PARALLEL}
_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_TENSORRT: dict[str, Callable[[str], dict[str, str]]] = {
    "precision_mode": lambda mode: {
        "FP32": {},
        "FP16": {"trt_fp16_enable": "1"},
        "INT8": {"trt_int8_enable": "1"},
    }[mode],
    "max_workspace_size_bytes": lambda size: {"trt_max_workspace_size": size},
    "int8_calibration_table_name": lambda name: {"trt_int8_calibration_table_name": name},
    "int8_use_native_calibration_table": lambda flag: {
        "trt_int8_use_native_calibration_table": flag
    },
}

Tensors = dict[str, Any]


class TritonPythonModel:
    """One instance of a model; the names of its methods are Triton's."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the session, on the device that this instance is for."""
        if int(np.__version__.partition(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"numpy {np.__version__} reads wrong values in this server: it needs numpy < 2"
            )
        config = json.loads(args["model_config"])
        parameters = {key: each["string_value"] for key, each in config["parameters"].items()}
        folder = os.path.join(args["model_repository"], args["model_version"])  # noqa: PTH118
        path = os.path.join(folder, config["default_model_filename"] or "model.onnx")  # noqa: PTH118
        providers = providers_of(
            config, args["model_instance_kind"], args["model_instance_device_id"]
        )
        if any(name != "CPUExecutionProvider" for name, _ in providers):
            getattr(ort, "preload_dlls", lambda: None)()  # CUDA's libraries from packages
        self._session = ort.InferenceSession(
            path, options_of(parameters, config), providers=providers
        )
        asked, got = providers[0][0], self._session.get_providers()[0]
        if asked != got:
            raise pb_utils.TritonModelException(
                f"{asked} was asked for, and ONNX Runtime fell back to {got}"
            )
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._is_text = {each.name for each in self._session.get_inputs() if "string" in each.type}
        self._is_batched = config["max_batch_size"] > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request."""
        inputs = [self._read(request) for request in requests]
        given = outcomes(inputs, self._once, self._is_batched)
        return [self._answer(*each) for each in zip(requests, given, strict=True)]

    def _once(self, inputs: Tensors) -> Tensors:
        return dict(zip(self._outputs, self._session.run(None, inputs), strict=True))

    def _read(self, request: Any) -> Tensors:
        found = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        for name in self._is_text & found.keys():
            found[name] = np.array(
                [text.decode() for text in found[name].reshape(-1)], dtype=object
            ).reshape(found[name].shape)
        return found

    @staticmethod
    def _answer(request: Any, outputs: Tensors | Exception) -> Any:
        if isinstance(outputs, Exception):
            words = f"{type(outputs).__name__}: {outputs}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(words))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, as_sent(each))
                for name, each in outputs.items()
                if name in wanted
            ]
        )


def as_sent(array: Any) -> Any:
    """Return an output as the server takes it: text as bytes."""
    if array.dtype.kind in "OU":
        texts = [str(each).encode() for each in array.reshape(-1)]
        return np.array(texts, dtype=object).reshape(array.shape)
    return np.ascontiguousarray(array).reshape(array.shape)


def providers_of(
    config: Mapping[str, Any], kind: str, device: str
) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's providers for an instance, the first of them asked for."""
    asked = config.get("optimization", {}).get("execution_accelerators", {})
    found: list[tuple[str, dict[str, str]]] = []
    for each in asked.get(f"{kind.lower()}_execution_accelerator", ()):
        parameters = dict(each.get("parameters", {}))
        if each["name"] == "tensorrt":
            found.append(("TensorrtExecutionProvider", tensorrt_options(parameters, device)))
        elif each["name"] == "openvino":
            found.append(("OpenVINOExecutionProvider", {"device_type": "CPU", **parameters}))
        else:
            raise pb_utils.TritonModelException(f"unknown accelerator {each['name']!r}")
    own = {"device_id": device, "use_tf32": "0"} if kind == "GPU" else {}
    found.append((_PROVIDERS[kind], own))
    return found + ([("CPUExecutionProvider", {})] if kind == "GPU" else [])


def tensorrt_options(parameters: Mapping[str, str], device: str) -> dict[str, str]:
    """Return the provider's options for the accelerator's parameters, as the native one does."""
    options = {"device_id": device}
    for name, value in parameters.items():
        options |= _TENSORRT[name](value) if name in _TENSORRT else {name: value}
    return options


def options_of(parameters: Mapping[str, str], config: Mapping[str, Any]) -> Any:
    """Return the session's options, from the parameters that the native backend knows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    options.execution_mode = _MODES[parameters.get("execution_mode", "0")]
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    if level in _LEVELS:
        options.graph_optimization_level = _LEVELS[level]
    return options
