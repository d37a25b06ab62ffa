"""ONNX Runtime: takes an ONNX file and options, gives outputs and facts; knows no budget.

The provider comes with the options. Whatever runs instead of the one that was asked for is an
error: a session that silently fell back to another provider is never handed on.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from pytest_inferbench.backends import engine_files
from pytest_inferbench.backends.catalog import ORT_DISTRIBUTIONS
from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.backends.ort_binding import Device, bind, can_bind, run_once
from pytest_inferbench.backends.ort_engine_folders import with_key
from pytest_inferbench.backends.ort_graphs import CudaGraphs
from pytest_inferbench.backends.ort_placement import assigned_in, executed, nodes_of
from pytest_inferbench.backends.ort_providers import (
    CUDA,
    DIRECTML,
    TENSORRT,
    chain,
    emulation,
    provider_of,
)
from pytest_inferbench.backends.ort_session import load_runtime, open_session
from pytest_inferbench.backends.ort_tensors import is_plain, specs
from pytest_inferbench.errors import InferbenchError


class OnnxRuntime(Backend):
    """An `InferenceSession` on one provider.

    Options: those of `ort_options`, `ort_providers` and `ort_session`; docs/settings.md lists
    them. What is timed has its inputs and outputs bound: on a GPU, on the device. With ``bind``
    off, inputs come from the host's memory and outputs go there, in every call.
    """

    distributions: ClassVar[Sequence[str]] = (
        *ORT_DISTRIBUTIONS,
        "onnxruntime-ep-openvino",
        "onnxruntime-ep-nv-tensorrt-rtx-cu12",
        "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        "onnxruntime-ep-webgpu",
    )

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        if not Path(artifact).is_file():
            raise InferbenchError("IB-326", f"there is no file {artifact}")
        self._ort = load_runtime(options)
        options = with_key(options, precision, self._ort.__version__)
        self._artifact, self._options, self._precision = artifact, options, precision
        self._provider = provider_of(options)
        were_loaded = engine_files.watch(chain(options, precision)[0][1])
        self._session, self._own = open_session(self._ort, artifact, options, precision)
        self._from_cache = were_loaded()
        inputs = specs(self._session.get_inputs(), "input")
        outputs = specs(self._session.get_outputs(), "output")
        on_cuda = self._provider in (CUDA, TENSORRT)
        self._device = Device("cuda", int(self._own.get("device_id", 0))) if on_cuda else None
        self._graphs = None
        if options.get("cuda_graph") and self._device:
            self._graphs = CudaGraphs(self._ort, self._session, inputs, outputs, self._device)
        # DirectML and captured graphs allow one run at a time. CUDA claims more, and version 1.31.1
        # gave threads each other's values: `concurrent` asks it to keep the claim.
        alone = self._graphs is not None or self._provider == DIRECTML
        alone |= self._device is not None and not options.get("concurrent", False)
        self._turn: Any = threading.Lock() if alone else nullcontext()
        return inputs, outputs

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        with self._turn:
            if self._graphs:
                return self._graphs.infer(inputs)
            return run_once(self._ort, self._session, self._given(inputs), self.outputs)

    def _given(self, inputs: Mapping[str, Array]) -> dict[TensorSpec, Array]:
        return {spec: inputs[spec.name] for spec in self.inputs}

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        if self._graphs:
            return self._graphs.prepare(inputs)
        ort, session, given, outputs = self._ort, self._session, self._given(inputs), self.outputs
        specs = (*given, *outputs)
        # On the host too: finding and converting arrays by name costs microseconds a call.
        asked = self._options.get("bind", True)
        if asked and can_bind(specs) and (self._device or all(map(is_plain, specs))):
            binding, _ = bind(ort, session, given, outputs, self._device or Device("cpu"))
            return lambda: session.run_with_iobinding(binding)
        return lambda: run_once(ort, session, given, outputs)

    def _loaded_from_cache(self) -> bool | None:
        return self._from_cache

    def _close(self) -> None:
        self._graphs = None
        del self._session

    def _describe(self) -> Mapping[str, Any]:
        providers = self._session.get_providers()
        chosen = self._session.get_session_options()
        return {
            "provider": providers[0],
            "providers": providers,
            "provider_options": {
                **self._own,
                **self._session.get_provider_options().get(providers[0], {}),
            },
            "intra_op_num_threads": chosen.intra_op_num_threads,
            "graph_optimization_level": chosen.graph_optimization_level.name,
            **assigned_in(self._session, self._provider),
            **self._emulated(),
        }

    def _placement(self, inputs: dict[str, Array] | None) -> Mapping[str, Any]:
        """Run once more, in a short-lived session with a profile."""
        facts = assigned_in(self._session, self._provider)
        if inputs is None:
            return facts
        options = {key: each for key, each in self._options.items() if key != "cuda_graph"}
        with tempfile.TemporaryDirectory(prefix="inferbench-profile-") as folder:
            session, _ = open_session(
                self._ort, self._artifact, options, self._precision, f"{folder}/run"
            )
            run_once(self._ort, session, self._given(inputs), self.outputs)
            nodes = nodes_of(json.loads(Path(session.end_profiling()).read_text("utf-8")))
        if not nodes and facts.get("placement", True):
            raise InferbenchError(
                "IB-335",
                f"ONNX Runtime {self._ort.__version__} wrote a profile that names no node, so where"
                f" {self._artifact} ran cannot be told",
            )
        ran = executed(nodes, self._provider, self._precision)
        return {**ran, "placement": facts.get("placement", ran["placement"]), **self._emulated()}

    def _emulated(self) -> dict[str, Any]:
        sentence = emulation(self._options, self._precision)
        return {"emulated": sentence} if sentence else {}
