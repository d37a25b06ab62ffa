"""Jetsons by their device trees, as JetPack 4 to 7 write them, and nvpmodel's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.hardware.jetson import jetson_facts, jetson_id, power_mode

Plant = Callable[[Mapping[str, str]], Path]

ORIN_NANO_CONF = """\
# Copyright (c) NVIDIA CORPORATION.
#
# FORMAT:
# < PARAM TYPE=PARAM_TYPE NAME=PARAM_NAME >
# < POWER_MODEL ID=id_num NAME=mode_name >
# < POWER_MODEL ID=3 NAME=NEVER >

< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
GPU MAX_FREQ 612000000

< POWER_MODEL ID=1 NAME=25W >
CPU_ONLINE CORE_0 1

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1

# mandatory section to configure the default power mode
< PM_CONFIG DEFAULT=1 >
"""
AGX_ORIN_CONF = (
    "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MODE_15W >\n"
    "< POWER_MODEL ID=2 NAME=MODE_30W >\n< POWER_MODEL ID=3 NAME=MODE_50W >\n"
)
XAVIER_NX_CONF = (
    "< PM_CONFIG DEFAULT=2 >\n< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n"
    "< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >\n< POWER_MODEL ID=5 NAME=MODE_10W_DESKTOP >\n"
)
THOR_CONF = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n"


def machine(model: str, compatible: str, conf: str, status: str) -> dict[str, str]:
    return {
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/compatible": compatible.replace(" ", "\0") + "\0",
        "etc/nvpmodel.conf": conf,
        "var/lib/nvpmodel/status": status,
    }


ORIN_NANO = machine(
    "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    "nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234",
    ORIN_NANO_CONF,
    "pmode:0000 fmode:quiet",
)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (ORIN_NANO, "jetson-orin-nano-15w"),
        (ORIN_NANO | {"var/lib/nvpmodel/status": "pmode:0002"}, "jetson-orin-nano-maxn-super"),
        (
            machine(
                "NVIDIA Orin Nano Developer Kit",
                "nvidia,p3768-0000+p3767-0003 nvidia,p3768-0000+p3767-0005 nvidia,p3767-0003"
                " nvidia,p3767-0005 nvidia,tegra234 nvidia,tegra23x",
                ORIN_NANO_CONF,
                "pmode:0001 fmode:fan_mode_quiet",
            ),
            "jetson-orin-nano-25w",
        ),
        (
            machine(
                "Jetson AGX Orin",
                "nvidia,p3737-0000+p3701-0000 nvidia,p3701-0000 nvidia,tegra234 nvidia,tegra23x",
                AGX_ORIN_CONF,
                "pmode:0000",
            ),
            "jetson-agx-orin-maxn",
        ),
        (
            machine(
                "NVIDIA Jetson AGX Orin Developer Kit",
                "nvidia,p3737-0000+p3701-0005 nvidia,p3701-0005 nvidia,tegra234",
                AGX_ORIN_CONF,
                "pmode:0003",
            ),
            "jetson-agx-orin-50w",
        ),
        (
            machine(
                "Some Carrier Co. Box 7",
                "nvidia,p3737-0000+p3701-0004 nvidia,p3701-0004 nvidia,tegra234",
                AGX_ORIN_CONF,
                "pmode:0002",
            ),
            "jetson-agx-orin-32gb-30w",
        ),
        (
            machine(
                "NVIDIA Jetson Xavier NX Developer Kit",
                "nvidia,p3509-0000+p3668-0000 nvidia,p3668-0000 nvidia,tegra194",
                XAVIER_NX_CONF,
                "pmode:0002 fmode:fanNull",
            ),
            "jetson-xavier-nx-15w-6core",
        ),
        (
            machine("Jetson-AGX", "nvidia,p2972-0000 nvidia,tegra194", AGX_ORIN_CONF, "pmode:0000"),
            "jetson-agx-xavier-maxn",
        ),
        (
            machine(
                "NVIDIA Jetson AGX Thor Developer Kit",
                "nvidia,p4071-0000+p3834-0008 nvidia,p3834-0008 nvidia,tegra264",
                THOR_CONF,
                "pmode:0001",
            ),
            "jetson-agx-thor-120w",
        ),
        (
            machine(
                "NVIDIA Jetson Nano Developer Kit",
                "nvidia,p3449-0000-b00+p3448-0000-b00 nvidia,jetson-nano nvidia,tegra210",
                "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n",
                "pmode:0001",
            ),
            "jetson-nano-5w",
        ),
        (
            machine(
                "NVIDIA Jetson Future NX Developer Kit (rev. 2)",
                "nvidia,p9999-0000+p9998-0001 nvidia,tegra999",
                AGX_ORIN_CONF,
                "pmode:0000",
            ),
            "jetson-future-nx-maxn",
        ),
        (machine("", "nvidia,tegra234", "", ""), "jetson-unknown-unknown-mode"),
    ],
)
def test_a_jetson_is_its_module_and_mode(
    plant: Plant, files: dict[str, str], expected: str
) -> None:
    assert jetson_id(plant(files)) == expected


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        ("pmode:0007", "mode-7"),
        ("", "unknown-mode"),
        ("pmode:", "unknown-mode"),
        ("\0\0", "unknown-mode"),
    ],
)
def test_a_mode_without_a_name_is_said_to_have_none(plant: Plant, status: str, mode: str) -> None:
    root = plant(ORIN_NANO | {"var/lib/nvpmodel/status": status})
    assert power_mode(root) == mode
    assert jetson_id(root) == f"jetson-orin-nano-{mode}"


def test_a_comment_in_the_configuration_names_no_mode(plant: Plant) -> None:
    assert power_mode(plant(ORIN_NANO | {"var/lib/nvpmodel/status": "pmode:0003"})) == "mode-3"


def test_other_boards_are_no_jetsons(plant: Plant, tmp_path: Path) -> None:
    assert jetson_id(tmp_path) is None
    files = {
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    }
    assert jetson_id(plant(files)) is None


def test_facts_hold_the_mode_and_the_release(plant: Plant) -> None:
    release = "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64\n"
    assert jetson_facts(plant(ORIN_NANO | {"etc/nv_tegra_release": release})) == {
        "power_mode": "15w",
        "jetson_linux": "36.4.7",
    }


def test_a_missing_release_is_unknown(plant: Plant) -> None:
    assert jetson_facts(plant(ORIN_NANO))["jetson_linux"] == "unknown"


@given(model=st.binary(max_size=60), conf=st.binary(max_size=60), number=st.integers(0, 10**6))
def test_any_text_makes_a_valid_id(
    tmp_path_factory: pytest.TempPathFactory, model: bytes, conf: bytes, number: int
) -> None:
    root = tmp_path_factory.mktemp("root")
    contents = {
        "proc/device-tree/model": model,
        "proc/device-tree/compatible": b"nvidia,tegra234\0" + model,
        "etc/nvpmodel.conf": f"< POWER_MODEL ID={number} NAME=".encode() + conf,
        "var/lib/nvpmodel/status": f"pmode:{number:04}".encode(),
    }
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    assert re.fullmatch(r"jetson(-[a-z0-9]+)+", jetson_id(root) or "")
