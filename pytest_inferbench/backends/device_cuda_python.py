"""A CUDA device through cuda-python: takes and gives what `device_buffers.Cuda` says."""

# ruff: noqa: D102 - `Cuda` says what each method does
from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array
from pytest_inferbench.backends.device_buffers import Cuda, Device, cuda_error, driver_version


class CudaPython(Cuda):
    """Through cuda-python: the CUDA runtime's own functions."""

    package = "cuda-python"

    def __init__(self, device_id: int = 0) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:  # before cuda-python 12.6
            from cuda import cudart as runtime
        self._rt, self._device_id = runtime, device_id
        self._device: set[int] = set()
        self._host: list[int] = []
        self._streams: list[int] = []
        self._graphs: list[Any] = []
        self._events: list[int] = []
        self._enter()
        self._call("cudaFree", 0)  # makes the context, so that a broken driver is found here

    def device(self) -> Device:
        found = self._call("cudaGetDeviceProperties", self._device_id)
        return Device(
            found.name.decode().rstrip("\0"),
            f"{found.major}.{found.minor}",
            driver_version(self._call("cudaDriverGetVersion")),
            found.totalGlobalMem / 2**20,
        )

    def allocate(self, size_bytes: int) -> int:
        address = int(self._call("cudaMalloc", max(1, size_bytes)))
        self._device.add(address)
        return address

    def free(self, address: int) -> None:
        self._device.discard(address)
        self._call("cudaFree", address)

    def pinned(self, size_bytes: int) -> Array:
        address = int(self._call("cudaMallocHost", max(1, size_bytes)))
        self._host.append(address)
        raw = (ctypes.c_uint8 * max(1, size_bytes)).from_address(address)
        return np.ctypeslib.as_array(raw)[:size_bytes]

    def stream(self) -> int:
        self._streams.append(int(self._call("cudaStreamCreate")))
        return self._streams[-1]

    def upload(self, address: int, host: Array, stream: int) -> None:
        self._copy(address, host.ctypes.data, host.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, host: Array, address: int, stream: int) -> None:
        self._copy(host.ctypes.data, address, host.nbytes, "cudaMemcpyDeviceToHost", stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def event(self) -> int:
        self._events.append(int(self._call("cudaEventCreate")))
        return self._events[-1]

    def record(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, started: int, stopped: int) -> float:
        return float(self._call("cudaEventElapsedTime", started, stopped))

    def capture(self, stream: int, enqueue: Callable[[], object]) -> Callable[[], object]:
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        finally:
            graph = self._call("cudaStreamEndCapture", stream)
        ready = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        self._graphs.append(ready)
        return lambda: self._call("cudaGraphLaunch", ready, stream)

    def used_mib(self) -> float:
        free, total = self._call("cudaMemGetInfo")
        return float(total - free) / 2**20

    def close(self) -> None:
        for name, handles in (
            ("cudaGraphExecDestroy", self._graphs),
            ("cudaEventDestroy", self._events),
            ("cudaStreamDestroy", self._streams),
            ("cudaFree", list(self._device)),
            ("cudaFreeHost", self._host),
        ):
            for handle in handles:
                self._call(name, handle)
        for emptied in (
            self._graphs,
            self._events,
            self._streams,
            self._device,
            self._host,
        ):
            emptied.clear()

    def _copy(self, to: int, source: int, size_bytes: int, kind: str, stream: int) -> None:
        if size_bytes:
            way = getattr(self._rt.cudaMemcpyKind, kind)
            self._call("cudaMemcpyAsync", to, source, size_bytes, way, stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *results = getattr(self._rt, name)(*arguments)
        if int(error) != 0:
            raise cuda_error(name, getattr(error, "name", str(error)))
        return results[0] if len(results) == 1 else tuple(results)

    def _enter(self) -> None:
        self._call("cudaSetDevice", self._device_id)

    def _leave(self) -> None:
        pass  # a thread's device is set anew by whoever needs another
