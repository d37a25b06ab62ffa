"""What a machine is set to, by the trees of a workstation, a Jetson and a virtual machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_inferbench.hardware.conditions import (
    Conditions,
    JetsonGpu,
    read_conditions,
)

Plant = Callable[[Mapping[str, str]], Path]
CPUS = "sys/devices/system/cpu"


def policy(number: int, governor: str, khz: tuple[int, int, int]) -> dict[str, str]:
    least, now, most = khz
    folder = f"{CPUS}/cpufreq/policy{number}"
    return {
        f"{folder}/scaling_governor": f"{governor}\n",
        f"{folder}/scaling_min_freq": f"{least}\n",
        f"{folder}/scaling_cur_freq": f"{now}\n",
        f"{folder}/scaling_max_freq": f"{most}\n",
    }


def heat(cpu: int, package: int, core: int, package_ms: int = 0) -> dict[str, str]:
    folder = f"{CPUS}/cpu{cpu}/thermal_throttle"
    return {
        f"{folder}/package_throttle_count": f"{package}\n",
        f"{folder}/package_throttle_total_time_ms": f"{package_ms}\n",
        f"{folder}/core_throttle_count": f"{core}\n",
        f"{folder}/core_throttle_total_time_ms": "0\n",
    }


WORKSTATION = {
    **policy(0, "powersave", (800_000, 3_100_000, 4_700_000)),
    **policy(1, "powersave", (800_000, 3_300_000, 4_700_000)),
    **policy(2, "powersave", (800_000, 900_000, 4_700_000)),
    **heat(0, 12, 3, 480),
    **heat(1, 12, 14, 480),
    f"{CPUS}/cpufreq/boost": "1\n",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "71000\n",
}
ORIN = {
    **policy(0, "schedutil", (1_510_400, 1_510_400, 1_510_400)),
    **policy(4, "schedutil", (1_510_400, 1_510_400, 1_510_400)),
    "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=25W >\n",
    "var/lib/nvpmodel/status": "pmode:0001\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "435200000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "918000000\n",
    "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "7\n",
    "sys/class/thermal/cooling_device0/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "1\n",
    "sys/class/thermal/cooling_device2/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device2/cur_state": "3\n",
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "54312\n",
}


def test_a_workstation(plant: Plant) -> None:
    assert read_conditions(plant(WORKSTATION)) == Conditions(
        governor="powersave",
        cpu_limit_mhz=4700.0,
        cpu_mhz=3100.0,
        throttled_ms=480,
        throttle_events={"heat of the CPU": 14},
        temperatures_c={"x86_pkg_temp": 71.0},
    )


def test_a_jetson_after_jetson_clocks(plant: Plant) -> None:
    root = plant(ORIN)
    assert read_conditions(root) == Conditions(
        governor="schedutil",
        cpu_limit_mhz=1510.4,
        cpu_mhz=1510.4,
        power_mode="25w",
        clocks_locked=True,
        throttle_events={"over-current alarm oc1": 0, "over-current alarm oc3": 7},
        temperatures_c={"gpu-thermal": 54.312},
    )
    gpu = JetsonGpu(root)
    assert (gpu.clock_mhz(), gpu.throttles()) == (918.0, ("gpu-throttle-alert",))


@pytest.mark.parametrize("name", ["17000000.gv11b", "17000000.ga10b", "57000000.gpu", "gpu-gpc-0"])
def test_a_jetsons_gpu_by_any_of_its_names(plant: Plant, name: str) -> None:
    root = plant({f"sys/class/devfreq/{name}/cur_freq": "306000000\n"})
    assert JetsonGpu(root).clock_mhz() == 306.0


def test_a_virtual_machine_tells_nothing(tmp_path: Path) -> None:
    assert read_conditions(tmp_path) == Conditions()
    gpu = JetsonGpu(tmp_path)
    assert (gpu.clock_mhz(), gpu.throttles()) == (None, ())


def test_a_sensor_that_is_off_has_no_temperature(plant: Plant) -> None:
    zone = "sys/class/thermal/thermal_zone3"
    root = plant({f"{zone}/type": "cv0-thermal\n"})
    (root / zone / "temp").mkdir()  # reading it fails, as it does where the unit has no power
    assert read_conditions(root).temperatures_c == {}
