"""OpenVINO by itself: takes an ONNX or IR file and options, gives outputs; knows no budget.

The device that was asked for is the one that runs, or it is an error; a model split over several is
not run at all. fp32 is pinned: by itself a CPU with AMX instructions would compute in bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pytest_inferbench.backends import blob_seals
from pytest_inferbench.backends import openvino_facts as facts
from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.backends.openvino_models import read_model
from pytest_inferbench.backends.openvino_options import check_device, properties
from pytest_inferbench.backends.openvino_requests import Requests
from pytest_inferbench.errors import InferbenchError


class OpenVino(Backend):
    """A compiled model on one device.

    Options: ``device`` ("CPU", "GPU", "GPU.1", "NPU", "AUTO", "AUTO:GPU,CPU"), ``hint``
    ("latency", "throughput"), ``model_cache`` (a folder), ``num_streams``,
    ``inference_num_threads``, and ``config`` (any other property to its value).
    """

    distributions: ClassVar[Sequence[str]] = ("openvino",)

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        core = facts.load_openvino().Core()
        self._precision = precision
        device = check_device(str(options.get("device", "CPU")), core.available_devices)
        config = properties(options, precision, device, _supported(core, device))
        if not Path(artifact).is_file():
            raise InferbenchError("IB-326", f"there is no file {artifact}")
        cache = Path(config["CACHE_DIR"]) if "CACHE_DIR" in config else None
        self._rebuilt = blob_seals.drop_broken(cache) if cache else []
        compiled, specs = self._compile(core, artifact, device, config)
        self._core, self._cache = core, cache
        self._requests = Requests(
            compiled, lambda: self._compile(core, artifact, device, config)[0]
        )
        self._devices = [name.strip("()") for name in compiled.get_property("EXECUTION_DEVICES")]
        self._check_what_runs(device, compiled)
        if cache:
            self._loaded = bool(compiled.get_property("LOADED_FROM_CACHE"))
            blob_seals.seal_new(cache)
        return specs

    def _compile(
        self, core: Any, artifact: str, device: str, config: Mapping[str, Any]
    ) -> tuple[Any, tuple[Sequence[TensorSpec], Sequence[TensorSpec]]]:
        try:
            # Not by path: then a changed file of the same age and size would come from the cache.
            model = read_model(artifact)
            specs = facts.specs_of(model.inputs), facts.specs_of(model.outputs)
            return core.compile_model(model, device, config), specs
        except InferbenchError:
            raise
        except Exception as error:
            version = facts.load_openvino().__version__
            raise InferbenchError(
                "IB-326", f"OpenVINO {version} could not load {artifact}: {error}"
            ) from error

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        def call(request: Any) -> dict[str, Array]:
            bound = self._bind(request, inputs)
            request.infer(share_outputs=True)
            del bound
            return {
                spec.name: np.array(request.get_output_tensor(index).data)
                for index, spec in enumerate(self.outputs)
            }

        outputs: dict[str, Array] = self._requests.run(call)
        return outputs

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        return self._requests.prepare(lambda request: self._bind(request, inputs))

    def _bind(self, request: Any, inputs: dict[str, Array]) -> list[Any]:
        """Let a request read the arrays themselves; return what must be kept until it has run."""
        ov = facts.load_openvino()
        held: list[Any] = []
        for index, spec in enumerate(self.inputs):
            array = inputs[spec.name]
            array = array if array.flags.writeable else array.copy()  # it shares no read-only ones
            tensor = ov.Tensor(array, shared_memory=True)
            request.set_input_tensor(index, tensor)
            held += [array, tensor]
        return held

    def _loaded_from_cache(self) -> bool | None:
        return self._loaded if self._cache else None

    def _close(self) -> None:
        self._requests.close()
        del self._requests, self._core

    def _describe(self) -> Mapping[str, Any]:
        compiled = self._requests.model
        layers = facts.layers_of(compiled)
        made: dict[str, Any] = {
            "device": ",".join(self._devices),
            "device_name": self._core.get_property(self._devices[0], "FULL_DEVICE_NAME"),
            **facts.reported(compiled),
            "fallback": [],
            **facts.placed(layers, self._devices),
        }
        able = self._core.get_property(self._devices[0], "OPTIMIZATION_CAPABILITIES")
        emulated = facts.emulation(
            self._precision, self._devices[0], able, made.get("precision_hint"), layers
        )
        if emulated:
            made["emulated"] = emulated
        if self._cache:
            made["model_cache"] = {"folder": str(self._cache), "loaded": self._loaded}
            made["model_cache"]["broken"] = self._rebuilt
        return made

    def _placement(self, inputs: dict[str, Array] | None) -> Mapping[str, Any]:
        return {**super()._placement(inputs), **facts.fused(self._requests.model)}

    def _check_what_runs(self, device: str, compiled: Any) -> None:
        asked = device.partition(":")[0].partition(".")[0]
        others = [each for each in self._devices if each.partition(".")[0] != asked]
        if asked != "AUTO" and (others or not self._devices):
            raise InferbenchError(
                "IB-324",
                f"{device} was asked for and {', '.join(others) or 'nothing'} runs instead",
            )
        hint = facts.reported(compiled).get("precision_hint")
        if self._precision == "fp32" and hint not in (None, "f32"):
            raise InferbenchError("IB-341", f"fp32 was asked for and {device} computes in {hint}")


def _supported(core: Any, device: str) -> list[str]:
    """Return the properties that can be set on a device, or on any where OpenVINO chooses."""
    names = core.available_devices if device.startswith("AUTO") else [device]
    return sorted(
        {name for each in names for name in core.get_property(each, "SUPPORTED_PROPERTIES")}
    )
