"""NVIDIA's GPUs by the names and files that its driver gives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.hardware import detect
from pytest_inferbench.hardware.nvidia import nvidia_driver, nvidia_id_from_name, nvidia_ids

Plant = Callable[[Mapping[str, str]], Path]

VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"
    "GCC version:  gcc version 11.4.0\n"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe MIG 1g.10gb", "nvidia-a100-80gb-pcie-mig-1g-10gb"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "nvidia-rtx-4090-laptop"),
        ("GeForce GTX 1080 Ti", "nvidia-gtx-1080-ti"),
        ("NVIDIA GeForce RTX 2070 with Max-Q Design", "nvidia-rtx-2070-with-max-q-design"),
        ("NVIDIA RTX 6000 Ada Generation", "nvidia-rtx-6000-ada"),
        ("NVIDIA RTX A6000", "nvidia-rtx-a6000"),
        ("Quadro RTX 6000", "nvidia-quadro-rtx-6000"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            "nvidia-rtx-pro-6000-blackwell-server",
        ),
        ("Tesla T4", "nvidia-t4"),
        ("Tesla V100-SXM2-16GB", "nvidia-v100-sxm2-16gb"),
        ("NVIDIA TITAN V", "nvidia-titan-v"),
        ("GRID T4-16Q", "nvidia-grid-t4-16q"),
        ("NVIDIA GB10", "nvidia-gb10"),
        ("NVIDIA Graphics Device", "nvidia-graphics-device"),
        ("", "nvidia-unknown"),
    ],
)
def test_names_lose_their_marketing(name: str, expected: str) -> None:
    assert nvidia_id_from_name(name) == expected


@given(st.text())
def test_any_name_makes_a_valid_id(name: str) -> None:
    assert re.fullmatch(r"nvidia(-[a-z0-9]+)+", nvidia_id_from_name(name))


def gpu(model: str) -> str:
    return f"Model: \t\t {model}\nIRQ:   \t\t 41\nBus Type: \t PCIe\nGPU Excluded:\t No\n"


def test_equal_gpus_are_one_class(plant: Plant) -> None:
    gpus = "proc/driver/nvidia/gpus"
    root = plant(
        {
            "proc/driver/nvidia/version": VERSION,
            f"{gpus}/0000:00:06.0/information": gpu("NVIDIA H200"),
            f"{gpus}/0000:00:07.0/information": gpu("NVIDIA L4"),
            f"{gpus}/0000:00:08.0/information": gpu("NVIDIA H200"),
        }
    )
    assert nvidia_ids(root) == ["nvidia-h200", "nvidia-l4"]
    assert detect(root).facts["nvidia_driver"] == "580.95.05"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (VERSION, "580.95.05"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17", "535.161.07"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82", "470.82"),
        ("garbage", "unknown"),
    ],
)
def test_the_version_of_the_driver(plant: Plant, version: str, expected: str) -> None:
    driver = nvidia_driver(plant({"proc/driver/nvidia/version": version}))
    assert driver is not None
    assert (driver.version, driver.cuda) == (expected, "unknown")


def test_a_driver_that_names_no_device_is_said_to(plant: Plant) -> None:
    assert nvidia_ids(plant({"dev/nvidiactl": ""})) == ["nvidia-unknown"]


def test_a_device_without_a_name_is_unknown(plant: Plant) -> None:
    files = {
        "dev/nvidiactl": "",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model:\nIRQ: 3\n",
    }
    assert nvidia_ids(plant(files)) == ["nvidia-unknown"]


def test_no_driver_no_gpus(tmp_path: Path) -> None:
    assert nvidia_driver(tmp_path) is None
    assert nvidia_ids(tmp_path) == []


HERE = nvidia_driver(Path("/"))


@pytest.mark.skipif(HERE is not None, reason="this machine has an NVIDIA driver")
def test_nvml_is_not_even_imported_without_a_driver() -> None:
    script = (
        "import sys; from pytest_inferbench.hardware import detect; detect();"
        "print('pynvml' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(HERE is None or shutil.which("nvidia-smi") is None, reason="needs a GPU")
class TestThisMachine:
    """Where there are GPUs, what is told agrees with the vendor's own tool."""

    def test_names_and_version(self) -> None:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
        names, versions = zip(
            *(line.split(", ") for line in done.stdout.strip().splitlines()), strict=True
        )
        assert HERE is not None
        assert (HERE.names, {HERE.version}) == (names, set(versions))
        assert re.fullmatch(r"\d+\.\d+", HERE.cuda)

    @pytest.mark.parametrize("hidden", ["", "-1"])
    def test_hidden_devices_are_not_there(
        self, monkeypatch: pytest.MonkeyPatch, hidden: str
    ) -> None:
        assert detect().gpus
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert detect().gpus == ()
        assert detect().facts["nvidia_driver"] != "unknown"
