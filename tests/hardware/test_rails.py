"""Power rails by the trees that JetPack 4 to 7 show on their boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_inferbench.hardware.rails import find_rails, module_rails, rails_watts

Plant = Callable[[Mapping[str, str]], Path]


def ina3221(hwmon: int, *rails: tuple[str, int, int]) -> dict[str, str]:
    """A monitor as the mainline driver shows it: channels of a label, millivolts, milliamperes."""
    folder = f"sys/class/hwmon/hwmon{hwmon}"
    files = {f"{folder}/name": "ina3221\n"}
    for channel, (label, millivolts, milliamperes) in enumerate(rails, 1):
        files |= {
            f"{folder}/in{channel}_label": f"{label}\n",
            f"{folder}/in{channel}_input": f"{millivolts}\n",
            f"{folder}/curr{channel}_input": f"{milliamperes}\n",
            f"{folder}/in{channel + 3}_input": "1234\n",  # its shunt, in microvolts
        }
    return {
        **files,
        f"{folder}/curr4_input": "99999\n",
        f"{folder}/in7_input": "99999\n",
        f"{folder}/in7_label": "sum of shunt voltages\n",
    }


ORIN_NANO = {
    "sys/class/hwmon/hwmon0/name": "soctherm_oc\n",
    **ina3221(1, ("VDD_IN", 5072, 1360), ("VDD_CPU_GPU_CV", 5072, 320), ("VDD_SOC", 5064, 416)),
}
AGX_ORIN = {
    **ina3221(
        3, ("VDD_GPU_SOC", 19048, 248), ("VDD_CPU_CV", 19048, 48), ("VIN_SYS_5V0", 4960, 824)
    ),
    **ina3221(4, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 19048, 64), ("NC", 0, 0)),
}
THOR = {
    **ina3221(
        2, ("VDD_GPU", 12000, 900), ("VDD_CPU_SOC_MSS", 12000, 800), ("VIN_SYS_5V0", 5000, 900)
    ),
    "sys/class/hwmon/hwmon5/name": "ina238\n",
    "sys/class/hwmon/hwmon5/power1_input": "41250000\n",
}


def iio(device: int, *rails: tuple[str, int]) -> dict[str, str]:
    """A monitor as the driver of JetPack 4 shows it: channels of a label and milliwatts."""
    folder = f"sys/bus/iio/devices/iio:device{device}"
    files = {f"{folder}/name": "ina3221x\n"}
    for channel, (label, milliwatts) in enumerate(rails):
        files[f"{folder}/rail_name_{channel}"] = f"{label}\n"
        files[f"{folder}/in_power{channel}_input"] = f"{milliwatts}\n"
    return files


NANO = iio(0, ("POM_5V_IN", 2180), ("POM_5V_GPU", 40), ("POM_5V_CPU", 390))
AGX_XAVIER = {
    **iio(0, ("GPU", 900), ("CPU", 1100), ("SOC", 1500)),
    **iio(1, ("CV", 0), ("VDDRQ", 450), ("SYS5V", 2100)),
}
TX2 = {
    **iio(0, ("VDD_SYS_GPU", 150), ("VDD_SYS_SOC", 380), ("VDD_4V0_WIFI", 20)),
    **iio(1, ("VDD_IN", 3300), ("VDD_SYS_CPU", 300), ("VDD_SYS_DDR", 520)),
    **iio(2, ("VDD_MUX", 4000), ("VDD_5V_IO_SYS", 900), ("VDD_3V3_SYS", 300)),
}


@pytest.mark.parametrize(
    ("files", "labels", "watts"),
    [
        (ORIN_NANO, ["VDD_IN"], 5.072 * 1.360),
        (
            AGX_ORIN,
            ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
            19.048 * 0.248 + 19.048 * 0.048 + 4.960 * 0.824,
        ),
        (THOR, ["VIN"], 41.25),
        (NANO, ["POM_5V_IN"], 2.18),
        (AGX_XAVIER, ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], 6.05),
        (TX2, ["VDD_IN"], 3.3),
    ],
    ids=["orin-nano", "agx-orin", "thor", "nano", "agx-xavier", "tx2"],
)
def test_the_module_is_counted_once(
    plant: Plant, files: dict[str, str], labels: list[str], watts: float
) -> None:
    root = plant(files)
    rails = module_rails(find_rails(root))
    assert [rail.label for rail in rails] == labels
    assert rails_watts(root, rails) == pytest.approx(watts)


def test_shunts_and_sums_are_no_rails(plant: Plant) -> None:
    labels = [rail.label for rail in find_rails(plant(ORIN_NANO))]
    assert labels == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]


def test_a_channel_that_is_switched_off_is_no_power(plant: Plant) -> None:
    root = plant(ORIN_NANO)
    rails = module_rails(find_rails(root))
    (root / "sys/class/hwmon/hwmon1/curr1_input").write_text("")
    assert rails_watts(root, rails) is None


def test_other_machines_have_no_rails(plant: Plant, tmp_path: Path) -> None:
    assert find_rails(tmp_path) == ()
    root = plant(
        {
            "sys/class/hwmon/hwmon0/name": "coretemp\n",
            "sys/class/hwmon/hwmon0/in1_label": "Vcore\n",
            "sys/class/hwmon/hwmon0/in1_input": "1100\n",
            "sys/class/hwmon/hwmon0/curr1_input": "20000\n",
        }
    )
    assert find_rails(root) == ()
