"""Which device is this: takes a machine's tree, gives hardware ids and facts; knows no settings.

Equal ids are one class, whose numbers may be compared; facts are what may differ within it.
Nothing here raises on an odd tree: what cannot be told is called unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_inferbench.hardware.cpu import cpu_facts, cpu_id
from pytest_inferbench.hardware.jetson import jetson_facts, jetson_id, power_mode
from pytest_inferbench.hardware.nvidia import ids_of, nvidia_driver
from pytest_inferbench.hardware.tree import UNKNOWN, read

__all__ = ["Hardware", "detect"]


@dataclass(frozen=True)
class Hardware:
    """The devices of one machine.

    Attributes:
        cpu: The id of its CPU class.
        gpus: The id of each class of GPU.
        facts: What must be said when two measurements differ in it: driver, kernel, governor ...
    """

    cpu: str
    gpus: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def detect(root: Path = Path("/")) -> Hardware:
    """Return what a machine is: this one, or the one whose tree was recorded under a root."""
    cpu, facts = cpu_id(root), {**_machine_facts(root), **cpu_facts(root)}
    jetson = jetson_id(root)
    if jetson is not None:
        # Its CPUs' clocks go with the mode too. NVML is not asked: it is absent there, or partial.
        return Hardware(f"{cpu}-{power_mode(root)}", (jetson,), {**facts, **jetson_facts(root)})
    driver = nvidia_driver(root)
    if driver is None:
        return Hardware(cpu, (), facts)
    facts |= {"nvidia_driver": driver.version, "cuda_driver": driver.cuda}
    return Hardware(cpu, tuple(ids_of(driver)), facts)


def _machine_facts(root: Path) -> dict[str, str]:
    memory = re.search(r"^MemTotal:[ \t]*(\d+) kB", read(root, "proc/meminfo"), re.MULTILINE)
    board = read(root, "proc/device-tree/model") or read(root, "sys/class/dmi/id/product_name")
    return {
        "kernel": read(root, "proc/sys/kernel/osrelease") or UNKNOWN,
        "memory_mib": str(int(memory[1]) // 1024) if memory else UNKNOWN,
        "board": " ".join(board.split()) or UNKNOWN,
    }
