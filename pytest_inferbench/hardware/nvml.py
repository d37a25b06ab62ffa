"""One NVIDIA GPU while it works: takes NVML, gives plain readings; knows no tolerance.

Whatever a GPU, a driver or a container does not tell is None, never a guess. NVML's binding is
asked for inside functions: a bare worker may lack it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

NO_BINDING = (
    "this environment's Python lacks nvidia-ml-py: install it there (pip install nvidia-ml-py)"
)

# The bits of NVML's "clocks event reasons" that mean slower than asked for, in words.
THERMAL = "heat"
POWER_CAP = "its power limit"
_THROTTLES = {
    0x04: POWER_CAP,
    0x08: "the hardware's own protection",
    0x20: THERMAL,
    0x40: THERMAL,
    0x80: "the power supply's brake",
}


@dataclass(frozen=True)
class GpuProcess:
    """A process that has the device open for computing."""

    pid: int
    used_mib: float | None


@dataclass(frozen=True)
class GpuReading:
    """What is read often: each is None where it is not told."""

    watts: float | None = None
    energy_j: float | None = None
    clock_mhz: float | None = None
    throttles: tuple[str, ...] = ()


def throttles_of(bits: int) -> tuple[str, ...]:
    """Return in words why clocks are held down; empty where they are as asked for."""
    return tuple(dict.fromkeys(words for bit, words in _THROTTLES.items() if bits & bit))


def visible_device(index: int, environ: Mapping[str, str]) -> int | str | None:
    """Return what NVML calls the device that CUDA counts as `index`: its number or its UUID.

    CUDA counts the fastest first and NVML by bus: equal where the GPUs are, and where
    `CUDA_DEVICE_ORDER` says `PCI_BUS_ID`. None where the process is given no such device.
    """
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return index
    named = [name.strip() for name in given.split(",")]
    if index >= len(named) or not named[index] or named[index].startswith("-"):
        return None
    return int(named[index]) if named[index].isdecimal() else named[index]


def strangers_of(
    processes: Iterable[GpuProcess], shares: Mapping[int, float], ours: Iterable[int]
) -> dict[int, float | None]:
    """Return the processes that are not ours, by pid, with their share of the device's time.

    In a container the driver counts pids otherwise than we do. Where not one of the processes is
    ours, nobody can be told from us, and nobody is called a stranger.
    """
    pids, known = {process.pid for process in processes}, set(ours)
    if not pids & known:
        return {}
    return {pid: shares.get(pid) for pid in sorted(pids - known)}


def own_mib(processes: Sequence[GpuProcess], ours: Iterable[int]) -> float | None:
    """Return the device memory that our processes hold; None where it is not told."""
    known = set(ours)
    held = [process.used_mib for process in processes if process.pid in known]
    told = [mib for mib in held if mib is not None]
    return sum(told) if told and len(told) == len(held) else None


class Gpu:
    """One device, asked through NVML."""

    def __init__(self, nvml: ModuleType, handle: object) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def find(cls, index: int, environ: Mapping[str, str] = os.environ) -> Gpu | str:
        """Return the device that CUDA counts as `index`, or why it cannot be asked."""
        try:
            import pynvml
        except ImportError:
            return NO_BINDING
        name = visible_device(index, environ)
        if name is None:
            return f"CUDA_VISIBLE_DEVICES gives no device {index}"
        try:
            pynvml.nvmlInit()
            by_name = pynvml.nvmlDeviceGetHandleByUUID
            handle = (
                pynvml.nvmlDeviceGetHandleByIndex(name) if isinstance(name, int) else by_name(name)
            )
        except Exception as error:  # noqa: BLE001 - no library, no permission, a broken driver
            return f"NVML does not answer: {error}"
        return cls(pynvml, handle)

    def read(self) -> GpuReading:
        """Return what is worth reading often."""
        nvml = self._nvml
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # its name before driver 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        clock_mhz = self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM)
        return GpuReading(
            watts=_scaled(self._ask("nvmlDeviceGetPowerUsage"), 1e-3),
            energy_j=_scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption"), 1e-3),
            clock_mhz=_scaled(clock_mhz, 1.0),
            throttles=throttles_of(bits or 0),
        )

    def processes(self) -> list[GpuProcess]:
        """Return who has the device open for computing."""
        found = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        return [GpuProcess(each.pid, _scaled(each.usedGpuMemory, 2**-20)) for each in found]

    def used_mib(self) -> float | None:
        """Return the device's memory in use, by anybody."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else float(memory.used) / 2**20

    def temperature_c(self) -> float | None:
        """Return the GPU's temperature."""
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        return _scaled(self._ask("nvmlDeviceGetTemperature", sensor), 1.0)

    def shares_since(self, epoch_s: float) -> dict[int, float]:
        """Return each process's share of the device's time since then, 0 to 1."""
        samples = self._ask("nvmlDeviceGetProcessUtilization", int(epoch_s * 1e6)) or []
        used: dict[int, list[float]] = {}
        for sample in samples:
            if sample.timeStamp > epoch_s * 1e6 and sample.smUtil <= 100:
                used.setdefault(sample.pid, []).append(sample.smUtil / 100)
        return {pid: sum(shares) / len(shares) for pid, shares in used.items()}

    def close(self) -> None:
        """Let NVML go."""
        self._nvml.nvmlShutdown()

    def _ask(self, name: str, *arguments: object) -> Any:
        """Ask one thing; None where this driver, GPU or container does not tell."""
        function: Callable[..., Any] | None = getattr(self._nvml, name, None)
        if function is None:
            return None
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else float(value) * factor
