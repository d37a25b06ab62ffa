"""A whole machine: its classes, and the facts that a comparison must show to differ."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_inferbench.hardware import Hardware, detect

Plant = Callable[[Mapping[str, str]], Path]

SERVER = {
    "proc/cpuinfo": "processor : 0\ncpu family : 6\nmodel : 207\n"
    "model name : Intel(R) Xeon(R) Processor\nflags : avx2 amx_int8 hypervisor\n",
    "proc/meminfo": "MemTotal:       131923456 kB\nMemFree: 1 kB\n",
    "proc/sys/kernel/osrelease": "6.8.0-1021-aws\n",
    "sys/class/dmi/id/product_name": "m7i.large\n",
}


def test_a_server_with_a_gpu(plant: Plant) -> None:
    root = plant(
        SERVER
        | {
            "dev/nvidiactl": "",
            "proc/driver/nvidia/version": "NVRM version: NVIDIA Kernel Module  580.95.05  Tue",
            "proc/driver/nvidia/gpus/0000:00:06.0/information": "Model: \t\t NVIDIA H200\n",
        }
    )
    assert detect(root) == Hardware(
        "cpu-intel-xeon-f6m207-1c",
        ("nvidia-h200",),
        {
            "kernel": "6.8.0-1021-aws",
            "memory_mib": "128831",
            "board": "m7i.large",
            "cpu_governor": "unknown",
            "cpu_features": "avx2 amx_int8 hypervisor",
            "nvidia_driver": "580.95.05",
            "cuda_driver": "unknown",
        },
    )


def test_a_server_without_a_gpu_has_no_facts_of_one(plant: Plant) -> None:
    machine = detect(plant(SERVER))
    assert machine.gpus == ()
    assert "nvidia_driver" not in machine.facts


def test_a_jetson_is_one_device_in_one_mode(plant: Plant) -> None:
    """Its GPU has the Jetson's id whatever the driver says, and its CPUs change with the mode."""
    core = "CPU implementer : 0x41\nCPU part : 0xd42\n"
    root = plant(
        {
            "proc/cpuinfo": "".join(f"processor : {index}\n{core}" for index in range(6)),
            "sys/devices/system/cpu/online": "0-3\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3767-0005\0nvidia,tegra234\0",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=7W >\n",
            "var/lib/nvpmodel/status": "pmode:0001",
            "dev/nvidiactl": "",
            "proc/driver/nvidia/version": "NVRM version: NVIDIA Kernel Module  540.4.0  Tue",
        }
    )
    machine = detect(root)
    assert machine.cpu == "cpu-arm-cortex-a78ae-4c-7w"
    assert machine.gpus == ("jetson-orin-nano-7w",)
    assert machine.facts["power_mode"] == "7w"
    assert machine.facts["board"] == "NVIDIA Jetson Orin Nano Developer Kit"


def test_a_raspberry_pi_is_a_cpu_on_a_board(plant: Plant) -> None:
    machine = detect(
        plant(
            {
                "proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n",
                "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
                "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            }
        )
    )
    assert (machine.cpu, machine.gpus) == ("cpu-arm-cortex-a76-1c", ())
    assert machine.facts["board"] == "Raspberry Pi 5 Model B Rev 1.0"


@pytest.mark.parametrize("odd", ["nothing", "folders", "a file"])
def test_an_odd_tree_is_no_failure(tmp_path: Path, odd: str) -> None:
    root = tmp_path / "root"
    if odd == "folders":
        for path in (*SERVER, "dev/nvidiactl", "proc/device-tree/compatible"):
            (root / path).mkdir(parents=True)
    elif odd == "a file":
        root.write_text("no tree")
    machine = detect(root)
    assert machine.cpu == "cpu-unknown-unknown-c"
    assert set(machine.facts.values()) == {"unknown"}
    assert machine.gpus == (("nvidia-unknown",) if odd == "folders" else ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unknown(plant: Plant) -> None:
    root = plant(SERVER)
    (root / "proc/meminfo").chmod(0)
    assert detect(root).facts["memory_mib"] == "unknown"


def test_this_machine() -> None:
    machine = detect()
    assert machine == detect()
    for name in (machine.cpu, *machine.gpus):
        assert re.fullmatch(r"(cpu|nvidia|jetson)(-[a-z0-9]+)+", name)
        assert "unknown" not in name
    assert machine.facts["kernel"] == os.uname().release
    assert int(machine.facts["memory_mib"]) > 0
