"""Native TensorRT: takes an engine and the key beside it, gives outputs; knows no budget.

An engine that was not built for this device, driver and runtime is refused, and so is one whose
bytes are not those that were built: TensorRT itself notices only some of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pytest_inferbench.backends.contract import (
    Array,
    Backend,
    DeviceTimer,
    TensorSpec,
    unknown_option,
)
from pytest_inferbench.backends.device_buffers import Cuda, open_device
from pytest_inferbench.backends.trt_engine import (
    BUILD_OPTIONS,
    fused_nodes,
    inspect_engine,
    inspector_report,
    load_plugins,
)
from pytest_inferbench.backends.trt_flavour import DISTRIBUTIONS, find_flavour, make_log
from pytest_inferbench.backends.trt_key import (
    Place,
    device_differences,
    read_plan,
    refuse_stale,
    runtime_differences,
)
from pytest_inferbench.backends.trt_session import Session
from pytest_inferbench.errors import InferbenchError

RUN_OPTIONS = ("device_id", "cuda_graphs")
_RECIPE_OPTIONS = ("calibration_cache", "fused_nms")


class TensorRt(Backend):
    """An engine of TensorRT 10 or 11, or of TensorRT for RTX.

    Options: ``device_id`` (0), ``cuda_graphs`` (false), ``plugins`` (libraries to load). Those that
    say how the engine is built are known and do nothing here.
    """

    distributions: ClassVar[Sequence[str]] = (*DISTRIBUTIONS, "pycuda", "cuda-python")

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        known = (*RUN_OPTIONS, *BUILD_OPTIONS, *_RECIPE_OPTIONS)
        for key in options:
            if key not in known:
                raise unknown_option(key, known)
        plan, engine_key = read_plan(Path(artifact))  # before any device: a damaged file needs none
        self._flavour = flavour = find_flavour()
        here = Place(flavour.name, flavour.version)
        flags = flavour.precision_flags(precision)
        refuse_stale(Path(artifact), runtime_differences(engine_key, here, precision, flags))
        self._cuda = open_device(int(options.get("device_id", 0)))
        try:
            with self._cuda.active():
                self._device = device = self._cuda.device()
                here = replace(
                    here, device=device.name, capability=device.capability, driver=device.driver
                )
                refuse_stale(Path(artifact), device_differences(engine_key, here))
                self._start(plan, artifact, options)
        except BaseException:
            _closed(self._cuda)
            raise
        return self._session.inputs, self._session.outputs

    def _start(self, plan: bytes, artifact: str, options: Mapping[str, Any]) -> None:
        flavour, before_mib = self._flavour, self._cuda.used_mib()
        log = make_log(flavour.trt)
        load_plugins(flavour, log, options.get("plugins", ()))
        runtime = flavour.trt.Runtime(log)
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            said = " ".join(" ".join(log.errors).split()) or "it gives no reason"
            raise InferbenchError(
                "IB-373",
                f"{flavour.name} {flavour.version} cannot load {artifact} on {self._device.name}"
                f" (compute capability {self._device.capability}): {said}",
            )
        self._runtime, self._log = runtime, log  # the engine does not keep them alive
        self._graphs = bool(options.get("cuda_graphs", False))
        self._session = Session(flavour, self._engine, self._cuda, graphs=self._graphs)
        self._facts = {
            **inspect_engine(flavour, self._engine),
            "plan_bytes": len(plan),
            "device_mib": round(self._cuda.used_mib() - before_mib, 1),
        }

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        return self._session.run(inputs)

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        return self._session.prepare(inputs)

    def _synchronize(self) -> None:
        self._session.synchronize()

    def _loaded_from_cache(self) -> bool:
        return True  # an engine is built before, as an artifact: its `build_ms` is among its facts

    def _device_timer(self) -> DeviceTimer:
        return self._session.timer()

    def _close(self) -> None:
        cuda = self._cuda
        with cuda.active():  # contexts before engine before runtime, then the buffers
            del self._session, self._engine, self._runtime, self._log
        _closed(cuda)
        del self._cuda

    def _describe(self) -> Mapping[str, Any]:
        return {
            "provider": f"{self._flavour.name} {self._flavour.version}",
            "device": self._device.name,
            "compute_capability": self._device.capability,
            "driver": self._device.driver,
            "buffers": self._cuda.package,
            "cuda_graphs": self._graphs,
            "profiles": {name: each.as_fields() for name, each in self._session.profiles.items()},
            "placement": {self._device.name: self._facts["layers"]},
            "fallback": [],  # an engine runs as a whole or not at all
            **self._facts,
        }

    def _placement(self, inputs: dict[str, Array] | None) -> Mapping[str, Any]:
        with self._cuda.active():
            told = inspector_report(self._flavour, self._engine)
        return {**super()._placement(inputs), "fused": fused_nodes(told)}


def _closed(cuda: Cuda) -> None:
    with cuda.active():
        cuda.close()
