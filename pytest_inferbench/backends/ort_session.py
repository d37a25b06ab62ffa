"""An ONNX Runtime session: takes a file and an options table, gives one that runs as asked.

Whatever runs instead of the provider that was asked for is an error.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.ort_options import ERRORS_ONLY, session_options
from pytest_inferbench.backends.ort_plugin import plugin_devices
from pytest_inferbench.backends.ort_providers import (
    CUDA,
    FOLDERS,
    OPENVINO,
    TENSORRT,
    chain,
    provider_of,
)
from pytest_inferbench.errors import InferbenchError

_NO_CPU = "session.disable_cpu_ep_fallback"
_RECORD = "session.record_ep_graph_assignment_info"


def load_runtime(options: Mapping[str, Any]) -> Any:
    """Import ONNX Runtime, quiet, with the libraries of a GPU if one is asked for.

    The option ``preload``: "auto" (the runtime's own search for CUDA and cuDNN), "torch" (those
    of an installed torch), "none", or a folder that holds them.
    """
    preload = str(options.get("preload", "auto"))
    if preload == "torch":
        try:
            importlib.import_module("torch")
        except ImportError as error:
            raise InferbenchError(
                "IB-323", f"option 'preload' cannot be 'torch': {error}"
            ) from error
    import onnxruntime as ort

    ort.disable_telemetry_events()
    ort.set_default_logger_severity(ERRORS_ONLY)
    if provider_of(options) in (CUDA, TENSORRT) and preload not in ("torch", "none"):
        if preload != "auto" and not Path(preload).is_dir():
            raise InferbenchError(
                "IB-323",
                f"option 'preload' cannot be {preload!r}",
                "It takes auto, torch, none, or a folder with CUDA's and cuDNN's libraries.",
            )
        if hasattr(ort, "preload_dlls"):  # since 1.21
            ort.preload_dlls(directory=None if preload == "auto" else preload)
    return ort


def open_session(
    ort: Any, artifact: str, options: Mapping[str, Any], precision: str, profile_prefix: str = ""
) -> tuple[Any, Mapping[str, str]]:
    """Return a session whose first provider is the one asked for, and that one's own options.

    Args:
        ort: The runtime's module.
        artifact: The path of an ONNX file.
        options: The adapter's options.
        precision: What to run at.
        profile_prefix: Where to write a profile, if one is wanted.

    Raises:
        InferbenchError: IB-324 the provider is not there, or another ran; IB-326 the file cannot
            be loaded; IB-331 to IB-333 see `ort_providers` and `ort_plugin`.
    """
    provider = provider_of(options)
    chosen = session_options(ort, options)
    if hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        chosen.add_session_config_entry(_RECORD, "1")  # seen to cost nothing at run time
    if profile_prefix:
        chosen.enable_profiling = True
        chosen.profile_file_prefix = profile_prefix
    devices = plugin_devices(ort, provider, options)
    providers = chain(options, precision)
    own = providers[0][1]
    _set_up(provider, own, options, precision, chosen)
    if devices:
        chosen.add_provider_for_devices(devices, own)
        providers = []
    try:
        session = ort.InferenceSession(artifact, chosen, providers or None, enable_fallback=0)
    except Exception as error:
        raise _refused(ort, artifact, options, error) from error
    session.disable_fallback()
    ran = session.get_providers()
    if ran[0] != provider:
        raise InferbenchError(
            "IB-324",
            f"{provider} was asked for and {ran[0]} ran instead",
            "Its libraries or device are missing: see the worker's last lines.",
        )
    return session, own


def _set_up(
    provider: str, own: Mapping[str, str], options: Mapping[str, Any], precision: str, chosen: Any
) -> None:
    """Do what some providers need beside their options."""
    for folder in FOLDERS:
        if folder in options:
            Path(options[folder]).mkdir(parents=True, exist_ok=True)
    if provider == TENSORRT:
        # TensorRT's provider has no switch for TF32, only NVIDIA's libraries have.
        os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
        if precision != "tf32":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    users = options.get("session_config", {})
    if provider == OPENVINO and own.get("device_type", "").startswith("NPU"):
        # Else what an NPU cannot compile runs on OpenVINO's CPU, without a word.
        chosen.add_session_config_entry(_NO_CPU, str(users.get(_NO_CPU, "1")))


def _refused(
    ort: Any, artifact: str, options: Mapping[str, Any], error: Exception
) -> InferbenchError:
    if options.get("cuda_graph"):
        return InferbenchError(
            "IB-331",
            f"ONNX Runtime {ort.__version__} could not load {artifact} for a CUDA graph: {error}",
            "Every node must run on the GPU, with no control flow. Else leave `cuda_graph` out.",
        )
    if "Please install" in str(error):  # said of TensorRT's libraries
        return InferbenchError(
            "IB-324", f"{provider_of(options)} was asked for and cannot be loaded: {error}"
        )
    return InferbenchError(
        "IB-326", f"ONNX Runtime {ort.__version__} could not load {artifact}: {error}"
    )
