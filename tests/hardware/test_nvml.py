"""What is made of NVML's answers; the GPU itself is asked where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.hardware.nvidia import nvidia_driver
from pytest_inferbench.hardware.nvml import (
    POWER_CAP,
    THERMAL,
    Gpu,
    GpuProcess,
    own_mib,
    strangers_of,
    throttles_of,
    visible_device,
)

HERE = nvidia_driver(Path("/"))


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, ()),
        (0x1 | 0x2 | 0x10 | 0x100, ()),  # idle, as was asked for, with its group, for a display
        (0x4, (POWER_CAP,)),
        (0x20 | 0x40, (THERMAL,)),
        (0x8 | 0x80, ("the hardware's own protection", "the power supply's brake")),
    ],
)
def test_only_what_slows_the_device_is_throttling(bits: int, words: tuple[str, ...]) -> None:
    assert throttles_of(bits) == words


def test_the_bits_are_those_of_the_binding() -> None:
    nvml = pytest.importorskip("pynvml")
    assert throttles_of(nvml.nvmlClocksEventReasonSwPowerCap) == (POWER_CAP,)
    assert throttles_of(nvml.nvmlClocksEventReasonSwThermalSlowdown) == (THERMAL,)
    assert throttles_of(nvml.nvmlClocksEventReasonHwThermalSlowdown) == (THERMAL,)
    assert throttles_of(nvml.nvmlClocksEventReasonHwSlowdown)
    assert throttles_of(nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown)
    harmless = (
        nvml.nvmlClocksEventReasonGpuIdle
        | nvml.nvmlClocksEventReasonApplicationsClocksSetting
        | nvml.nvmlClocksEventReasonSyncBoost
        | nvml.nvmlClocksEventReasonDisplayClockSetting
    )
    assert throttles_of(harmless) == ()


@pytest.mark.parametrize(
    ("index", "given_devices", "name"),
    [
        (1, None, 1),
        (0, "3", 3),
        (1, "2, 0", 0),
        (0, "GPU-8a1f", "GPU-8a1f"),
        (1, "0,MIG-77", "MIG-77"),
        (1, "0", None),
        (0, "", None),
        (0, "-1", None),
    ],
)
def test_a_device_by_what_the_process_was_given(
    index: int, given_devices: str | None, name: int | str | None
) -> None:
    environ = {} if given_devices is None else {"CUDA_VISIBLE_DEVICES": given_devices}
    assert visible_device(index, environ) == name


PIDS = st.sets(st.integers(1, 60), max_size=12)


@given(st.sets(st.integers(1, 60), min_size=1, max_size=12), PIDS, PIDS)
def test_strangers_are_all_but_ours(ours: set[int], others: set[int], busy: set[int]) -> None:
    processes = [GpuProcess(pid, 10.0) for pid in ours | others]
    found = strangers_of(processes, dict.fromkeys(busy, 0.5), ours)
    assert found.keys() == others - ours
    assert all((share is None) == (pid not in busy) for pid, share in found.items())


@given(PIDS, PIDS)
def test_where_none_is_ours_nobody_is_a_stranger(theirs: set[int], ours: set[int]) -> None:
    """As in a container, whose pids the driver does not use."""
    processes = [GpuProcess(pid, None) for pid in theirs - ours]
    assert strangers_of(processes, dict.fromkeys(theirs, 0.9), ours) == {}


@pytest.mark.parametrize(
    ("held", "mib"),
    [
        ([GpuProcess(1, 300.0), GpuProcess(2, 50.0)], 300.0),
        ([GpuProcess(1, 300.0), GpuProcess(9, 50.0)], 350.0),
        ([GpuProcess(1, 300.0), GpuProcess(9, None)], None),
        ([GpuProcess(1, None)], None),
        ([GpuProcess(2, 50.0)], None),
        ([], None),
    ],
)
def test_memory_is_told_or_it_is_not(held: list[GpuProcess], mib: float | None) -> None:
    assert own_mib(held, {1, 9}) == mib


@pytest.mark.skipif(HERE is not None, reason="this machine has an NVIDIA driver")
def test_without_a_driver_it_is_said_that_nobody_answers() -> None:
    pytest.importorskip("pynvml")
    assert str(Gpu.find(0, {})).startswith("NVML does not answer: ")
    assert Gpu.find(2, {"CUDA_VISIBLE_DEVICES": "0,1"}) == "CUDA_VISIBLE_DEVICES gives no device 2"


@pytest.mark.skipif(HERE is None or shutil.which("nvidia-smi") is None, reason="needs a GPU")
def test_a_gpu_tells_plain_figures() -> None:
    gpu = Gpu.find(0)
    assert isinstance(gpu, Gpu)
    reading = gpu.read()
    assert reading.watts is None or 1 < reading.watts < 3000
    assert reading.clock_mhz is None or 50 < reading.clock_mhz < 5000
    assert gpu.used_mib() is not None
    assert all(process.pid > 0 for process in gpu.processes())
    gpu.close()
