"""What a machine is set to and suffers from now: takes a machine's tree, gives plain figures.

Read before and after a measurement, it tells whether both were the same machine. Knows neither
tolerances nor GPUs other than a Jetson's; what a tree does not tell is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_inferbench.hardware.jetson import power_mode
from pytest_inferbench.hardware.tree import read

_CPUS = "sys/devices/system/cpu"
_JETSON_GPU = re.compile(r"gpu|g[a-z]\d\d[a-z]", re.IGNORECASE)
_GPU_LOAD = "sys/class/devfreq"


@dataclass(frozen=True)
class Conditions:
    """A machine at one moment.

    Attributes:
        governor: What sets the CPUs' clocks; empty where it is not told.
        cpu_limit_mhz: The most that the CPUs may clock; 0 where it is not told.
        cpu_mhz: What they clock at now, the median of their clusters.
        power_mode: A Jetson's nvpmodel mode; empty elsewhere.
        clocks_locked: Whether the least allowed clock is the most allowed one, on every cluster.
        throttled_ms: For how long heat has slowed the CPUs since boot, the worst of them.
        throttle_events: How often something was slowed since boot, by its cause.
        temperatures_c: By thermal zone.
    """

    governor: str = ""
    cpu_limit_mhz: float = 0.0
    cpu_mhz: float = 0.0
    power_mode: str = ""
    clocks_locked: bool = False
    throttled_ms: int = 0
    throttle_events: dict[str, int] = field(default_factory=dict)
    temperatures_c: dict[str, float] = field(default_factory=dict)

    def as_fields(self) -> dict[str, Any]:
        """Return them as plain types."""
        return asdict(self)


def read_conditions(root: Path = Path("/")) -> Conditions:
    """Return what a machine is set to and suffers from."""
    policies = sorted(root.glob(f"{_CPUS}/cpufreq/policy*"))
    governors = {read(policy, "scaling_governor") for policy in policies} - {""}
    clocks_khz = sorted(_numbers(policies, "scaling_cur_freq"))
    least_khz = list(_numbers(policies, "scaling_min_freq"))
    most_khz = list(_numbers(policies, "scaling_max_freq"))
    is_jetson = bool(read(root, "var/lib/nvpmodel/status"))
    return Conditions(
        governor=",".join(sorted(governors)),
        cpu_limit_mhz=max(most_khz, default=0) / 1e3,
        cpu_mhz=clocks_khz[len(clocks_khz) // 2] / 1e3 if clocks_khz else 0.0,
        power_mode=power_mode(root) if is_jetson else "",
        clocks_locked=bool(most_khz) and least_khz == most_khz,
        throttled_ms=max(_heat(root, "total_time_ms"), default=0),
        throttle_events={**_heat_events(root), **_overcurrent_events(root)},
        temperatures_c=_temperatures_c(root),
    )


class JetsonGpu:
    """A Jetson's GPU and its alarms: where they stand is found once, for they are read often."""

    def __init__(self, root: Path) -> None:
        self._clock = next(
            (
                folder
                for folder in sorted(root.glob(f"{_GPU_LOAD}/*"))
                if _JETSON_GPU.search(folder.name) and read(folder, "cur_freq").isdecimal()
            ),
            None,
        )
        named = {
            folder: read(folder, "type")
            for folder in sorted(root.glob("sys/class/thermal/cooling_device*"))
        }
        self._alarms = {folder: name for folder, name in named.items() if "throttle-alert" in name}

    def clock_mhz(self) -> float | None:
        """Return its clock; None where there is none."""
        text = read(self._clock, "cur_freq") if self._clock else ""
        return int(text) / 1e6 if text.isdecimal() else None

    def throttles(self) -> tuple[str, ...]:
        """Return which alarms hold clocks down now, by name."""
        raised = [
            name
            for folder, name in self._alarms.items()
            if read(folder, "cur_state") not in ("", "0")
        ]
        return tuple(dict.fromkeys(raised))


def _numbers(folders: list[Path], name: str) -> Iterator[int]:
    for folder in folders:
        text = read(folder, name)
        if text.isdecimal():
            yield int(text)


def _heat(root: Path, what: str) -> Iterator[int]:
    """The counters of every CPU; those of one package tell the same."""
    for folder in root.glob(f"{_CPUS}/cpu[0-9]*/thermal_throttle"):
        yield from _numbers([folder], f"package_throttle_{what}")
        yield from _numbers([folder], f"core_throttle_{what}")


def _heat_events(root: Path) -> dict[str, int]:
    counts = list(_heat(root, "count"))
    return {"heat of the CPU": max(counts)} if counts else {}


def _overcurrent_events(root: Path) -> dict[str, int]:
    """Jetson's over-current alarms, which slow its CPUs and GPU at once."""
    events = {}
    for path in sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")):
        text = read(path.parent, path.name)
        if text.isdecimal():
            events[f"over-current alarm {path.name.partition('_')[0]}"] = int(text)
    return events


def _temperatures_c(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        text = read(zone, "temp")
        if text.lstrip("-").isdecimal():  # a zone whose sensor is off has none
            found[read(zone, "type") or zone.name] = int(text) / 1e3
    return found
