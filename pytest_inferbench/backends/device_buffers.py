"""Memory, streams and graphs of a CUDA device: one interface over PyCUDA and over cuda-python.

Takes sizes and arrays; gives addresses as plain numbers, as TensorRT takes them. Knows no model.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_inferbench.backends.contract import Array
from pytest_inferbench.errors import InferbenchError

_DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device:
    """A GPU, as the driver tells of it."""

    name: str
    capability: str
    driver: str
    total_mib: float


class Cuda(ABC):
    """A device through one of the two packages; whoever calls it has it `active`.

    Attributes:
        package: Which one.
    """

    package: str

    @abstractmethod
    def device(self) -> Device:
        """Return which device it is."""

    @abstractmethod
    def allocate(self, size_bytes: int) -> int:
        """Return the address of new device memory, never 0, even for nothing."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Give device memory back."""

    @abstractmethod
    def pinned(self, size_bytes: int) -> Array:
        """Return page-locked host memory as bytes; it lives until `close`."""

    @abstractmethod
    def stream(self) -> int:
        """Return the handle of a new stream; it lives until `close`."""

    @abstractmethod
    def upload(self, address: int, host: Array, stream: int) -> None:
        """Copy to the device, in the order of a stream."""

    @abstractmethod
    def download(self, host: Array, address: int, stream: int) -> None:
        """Copy from the device, in the order of a stream."""

    @abstractmethod
    def synchronize(self, stream: int) -> None:
        """Wait for a stream."""

    @abstractmethod
    def event(self) -> int:
        """Return the handle of a new event that notes the time; it lives until `close`."""

    @abstractmethod
    def record(self, event: int, stream: int) -> None:
        """Have an event note when a stream gets to it."""

    @abstractmethod
    def elapsed_ms(self, started: int, stopped: int) -> float:
        """Return the time on the device between two events that it has got to."""

    @abstractmethod
    def capture(self, stream: int, enqueue: Callable[[], object]) -> Callable[[], object]:
        """Record what is put on a stream, without running it; return what runs it."""

    @abstractmethod
    def used_mib(self) -> float:
        """Return how much of the device's memory is in use, by whomever."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have this thread talk to the device."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @abstractmethod
    def _enter(self) -> None: ...

    @abstractmethod
    def _leave(self) -> None: ...


def open_device(device_id: int = 0) -> Cuda:
    """Return a device through PyCUDA, or through cuda-python where PyCUDA is not installed.

    Raises:
        InferbenchError: IB-370 neither is installed; IB-372 there is no such device, or CUDA fails.
    """
    try:
        from pytest_inferbench.backends.device_pycuda import PyCuda

        return PyCuda(device_id)
    except ImportError:
        pass
    try:
        from pytest_inferbench.backends.device_cuda_python import CudaPython

        return CudaPython(device_id)
    except ImportError:
        pass
    raise InferbenchError(
        "IB-370",
        "TensorRT's inputs are copied with PyCUDA or cuda-python, and neither is installed",
        "pip install 'pytest-inferbench[trt]', or pip install cuda-python",
    )


def find_device(device_id: int = 0) -> Device | None:
    """Return a device, where there is one and something to reach it with."""
    try:
        cuda = open_device(device_id)
        with cuda.active():
            return cuda.device()
    except InferbenchError:
        return None


def driver_version(cuda_version: int, file: Path = _DRIVER_FILE) -> str:
    """Return the driver's version; CUDA's number for it where the kernel does not tell.

    Args:
        cuda_version: CUDA's number, such as 13000; 0 where that is not known either.
        file: What the kernel tells.
    """
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", file.read_text(encoding="utf-8"))
    except OSError:
        found = None
    if found or not cuda_version:
        return found[0] if found else ""
    return f"CUDA {cuda_version // 1000}.{cuda_version % 1000 // 10}"


def cuda_error(name: str, said: str) -> InferbenchError:
    """Return the error for a call that CUDA refused."""
    return InferbenchError(
        "IB-372", f"CUDA refused {name}: {said}", "Is there a GPU, and does nvidia-smi show it?"
    )
