"""Names NVIDIA GPU classes: takes a machine's tree and asks NVML; knows nothing of Jetsons.

NVML tells of the machine it runs on, so a recorded tree is read from the driver's files instead,
as is a container that got the driver's files but not its library.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pytest_inferbench.hardware.tree import UNKNOWN, read, slug

_NO_NAME = re.compile(
    r"\b(?:NVIDIA|GeForce|Tesla|Generation|Edition|GPU)\b|\((?:R|TM)\)|[®™]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Driver:
    """What a driver shows.

    Attributes:
        names: The name of each device that can be computed on, in order.
        version: The driver's version.
        cuda: The newest CUDA version that it serves.
    """

    names: tuple[str, ...]
    version: str = UNKNOWN
    cuda: str = UNKNOWN


def nvidia_ids(root: Path = Path("/")) -> list[str]:
    """Return one id for every class of GPU, such as `nvidia-h200`, in the driver's order."""
    driver = nvidia_driver(root)
    return ids_of(driver) if driver else []


def ids_of(driver: Driver) -> list[str]:
    """Return the ids of a driver's devices; equal devices are one class."""
    return list(dict.fromkeys(map(nvidia_id_from_name, driver.names)))


def nvidia_id_from_name(name: str) -> str:
    """Return the id of a device's name: "NVIDIA GeForce RTX 4090" is `nvidia-rtx-4090`."""
    return f"nvidia-{slug(_NO_NAME.sub(' ', name))}"


def nvidia_driver(root: Path) -> Driver | None:
    """Return what the driver shows, None where there is no driver.

    A process that was given no device (`CUDA_VISIBLE_DEVICES` empty or -1) has none.
    """
    paths = ("dev/nvidiactl", "dev/dxg", "proc/driver/nvidia/version")
    if not any((root / path).exists() for path in paths):
        return None
    live = root == Path("/")
    driver = (_ask_nvml() if live else None) or _read_files(root)
    if live and os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() in ("", "-1"):
        return Driver((), driver.version, driver.cuda)
    return driver


def _ask_nvml() -> Driver | None:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no binding, no library, no permission, a broken driver
        return None
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        return Driver(
            tuple(_text(pynvml.nvmlDeviceGetName(device)) for device in _devices(pynvml)),
            _text(pynvml.nvmlSystemGetDriverVersion()),
            f"{cuda // 1000}.{cuda % 1000 // 10}",
        )
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _devices(nvml: ModuleType) -> Iterator[object]:
    """The devices that can be computed on: the instances of a GPU that is split, else the GPU."""
    for index in range(nvml.nvmlDeviceGetCount()):
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        try:
            split = nvml.nvmlDeviceGetMigMode(gpu)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        except nvml.NVMLError:  # most GPUs know of no instances
            split = False
        if not split:
            yield gpu
            continue
        for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            with contextlib.suppress(nvml.NVMLError):  # an empty slot
                yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, slot)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read_files(root: Path) -> Driver:
    names = []
    for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        found = re.search(
            r"^Model:[ \t]*(\S.*)$", read(root, str(path.relative_to(root))), re.MULTILINE
        )
        names.append(found[1].strip() if found else UNKNOWN)
    version = re.search(
        r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", read(root, "proc/driver/nvidia/version") + " "
    )
    return Driver(tuple(names) or (UNKNOWN,), version[1] if version else UNKNOWN)
