"""A CUDA device through PyCUDA: takes and gives what `device_buffers.Cuda` says."""

# ruff: noqa: D102 - `Cuda` says what each method does
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array
from pytest_inferbench.backends.device_buffers import Cuda, Device, cuda_error, driver_version


class PyCuda(Cuda):
    """Through PyCUDA, as Jetsons have it; in the device's primary context, which TensorRT uses."""

    package = "pycuda"

    def __init__(self, device_id: int = 0) -> None:
        from pycuda import driver

        self._driver = driver
        with self._explained("cuInit"):
            driver.init()
            self._gpu = driver.Device(device_id)
            self._context = self._gpu.retain_primary_context()
        self._device: dict[int, Any] = {}
        self._host: list[Any] = []
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    def device(self) -> Device:
        major, minor = self._gpu.compute_capability()
        driver = driver_version(self._driver.get_driver_version())
        return Device(
            self._gpu.name(), f"{major}.{minor}", driver, self._gpu.total_memory() / 2**20
        )

    def allocate(self, size_bytes: int) -> int:
        with self._explained("cuMemAlloc"):
            made = self._driver.mem_alloc(max(1, size_bytes))
        self._device[int(made)] = made
        return int(made)

    def free(self, address: int) -> None:
        self._device.pop(address).free()

    def pinned(self, size_bytes: int) -> Array:
        with self._explained("cuMemHostAlloc"):
            made = self._driver.pagelocked_empty(max(1, size_bytes), np.uint8)
        self._host.append(made)
        found: Array = made[:size_bytes]
        return found

    def stream(self) -> int:
        made = self._driver.Stream()
        self._streams[int(made.handle)] = made
        return int(made.handle)

    def upload(self, address: int, host: Array, stream: int) -> None:
        if host.nbytes:
            with self._explained("cuMemcpyHtoDAsync"):
                self._driver.memcpy_htod_async(address, host, self._streams[stream])

    def download(self, host: Array, address: int, stream: int) -> None:
        if host.nbytes:
            with self._explained("cuMemcpyDtoHAsync"):
                self._driver.memcpy_dtoh_async(host, address, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        with self._explained("cuStreamSynchronize"):
            self._streams[stream].synchronize()

    def event(self) -> int:
        with self._explained("cuEventCreate"):
            made = self._driver.Event()
        self._events[id(made)] = made  # PyCUDA's events have no handle to ask for
        return id(made)

    def record(self, event: int, stream: int) -> None:
        with self._explained("cuEventRecord"):
            self._events[event].record(self._streams[stream])

    def elapsed_ms(self, started: int, stopped: int) -> float:
        with self._explained("cuEventElapsedTime"):
            return float(self._events[stopped].time_since(self._events[started]))

    def capture(self, stream: int, enqueue: Callable[[], object]) -> Callable[[], object]:
        on = self._streams[stream]
        with self._explained("cuStreamBeginCapture"):
            on.begin_capture()
            try:
                enqueue()
            finally:
                graph = on.end_capture()
            ready = graph.instantiate()
        return lambda: ready.launch(on)

    def used_mib(self) -> float:
        free, total = self._driver.mem_get_info()
        return float(total - free) / 2**20

    def close(self) -> None:
        for made in self._device.values():
            made.free()
        for emptied in (self._device, self._host, self._events, self._streams):
            emptied.clear()

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except self._driver.Error as error:
            raise cuda_error(name, str(error)) from error

    def _enter(self) -> None:
        self._context.push()

    def _leave(self) -> None:
        self._context.pop()
