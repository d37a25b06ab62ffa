"""A Jetson's power rails: takes a machine's tree, gives what each draws; knows no cell.

The monitors are INA3221s of three channels each. Newer kernels show them below `hwmon` as voltage
and current, the kernels of JetPack 4 below `iio` as power. A rail that feeds others is not added
to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_inferbench.hardware.tree import read

# What feeds the whole module; where there is one, the others are parts of it.
_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")

# Fed by VIN_SYS_5V0 on Orin: a part of it.
_PARTS = ("VDDQ_VDD2_1V8AO",)

# Channels that lead nowhere, and rails of the carrier board.
_NOT_THE_MODULE = ("NC", "VDD_MUX", "VDD_5V_IO_SYS", "VDD_3V3_SYS", "VDD_3V3_IO", "VDD_1V8_IO")

NONE_HERE = (
    "no power monitor (INA3221) shows its rails below /sys/class/hwmon or /sys/bus/iio/devices"
)


@dataclass(frozen=True)
class Rail:
    """One rail.

    Attributes:
        label: As the board names it: `VDD_IN`.
        factors: Files below the root whose product it draws.
        unit_w: What a product of 1 is in watts.
    """

    label: str
    factors: tuple[str, ...]
    unit_w: float


def find_rails(root: Path = Path("/")) -> tuple[Rail, ...]:
    """Return every rail of a machine."""
    return (*_in_hwmon(root), *_in_iio(root))


def module_rails(rails: Sequence[Rail]) -> tuple[Rail, ...]:
    """Return the rails that add up to what the whole module draws."""
    whole = [rail for name in _WHOLE for rail in rails if rail.label == name]
    if whole:
        return (whole[0],)
    # Where nothing feeds them all, a rail that another one feeds must not be counted twice.
    left_out = {*_NOT_THE_MODULE, *_PARTS}
    return tuple(rail for rail in rails if rail.label not in left_out)


def rails_watts(root: Path, rails: Iterable[Rail]) -> float | None:
    """Return what rails draw together now, None where one cannot be read."""
    total_w = 0.0
    for rail in rails:
        product = rail.unit_w
        for path in rail.factors:
            text = read(root, path)
            if not text.lstrip("-").isdecimal():
                return None
            product *= int(text)
        total_w += product
    return total_w


def _in_hwmon(root: Path) -> list[Rail]:
    rails = []
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        path, name = (
            f"sys/class/hwmon/{folder.name}",
            read(root, f"sys/class/hwmon/{folder.name}/name"),
        )
        if name == "ina3221":
            # in4 to in7 and curr4 are shunt voltages and sums of the three channels
            for channel in (1, 2, 3):
                label = read(root, f"{path}/in{channel}_label")
                factors = (f"{path}/in{channel}_input", f"{path}/curr{channel}_input")
                if label and all((root / factor).exists() for factor in factors):
                    rails.append(Rail(label, factors, 1e-6))  # mV x mA
        elif name == "ina238" and (folder / "power1_input").exists():
            # Thor's monitor of all that the module and its carrier draw
            label = read(root, f"{path}/in1_label") or "VIN"
            rails.append(Rail(label, (f"{path}/power1_input",), 1e-6))  # uW
    return rails


def _in_iio(root: Path) -> list[Rail]:
    rails = []
    for folder in sorted(root.glob("sys/bus/iio/devices/iio:device*")):
        path = f"sys/bus/iio/devices/{folder.name}"
        for channel in (0, 1, 2):
            label = read(root, f"{path}/rail_name_{channel}")
            factor = f"{path}/in_power{channel}_input"
            if label and (root / factor).exists():
                rails.append(Rail(label, (factor,), 1e-3))  # mW
    return rails
