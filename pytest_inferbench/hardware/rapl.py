"""RAPL, the energy counters of Intel's and AMD's CPUs: takes a machine's tree, gives microjoules.

Knows neither when nor how long is measured. Packages and their memory are counted; cores and
graphics are parts of the package, `psys` is the whole board, and `intel-rapl-mmio` is the first
package again, so none of these is added to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_inferbench.hardware.tree import read

_FOLDER = "sys/class/powercap"

NONE_HERE = (
    "the kernel shows no energy counters of the CPU (no domain in /sys/class/powercap):"
    " a virtual machine or container seldom has them"
)
NOT_ALLOWED = (
    "the CPU's energy counters can be read by root only; until the next boot"
    " `sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` lets everyone"
    " (docs/quiet-machine.md says what that gives away, and how to keep it)"
)


@dataclass(frozen=True)
class Domain:
    """One counter.

    Attributes:
        name: As the kernel says: `package-0`, `dram`.
        path: Its folder below the root.
        range_uj: Where it starts again from zero.
    """

    name: str
    path: str
    range_uj: int


@dataclass(frozen=True)
class Rapl:
    """The counters that add up to the CPUs and their memory, or why there are none."""

    domains: tuple[Domain, ...] = ()
    missing: str = ""


def find_rapl(root: Path = Path("/")) -> Rapl:
    """Return the counters of a machine that can be read."""
    domains = []
    for folder in sorted(root.glob(f"{_FOLDER}/intel-rapl:*")):
        path = f"{_FOLDER}/{folder.name}"
        name = read(root, f"{path}/name")
        counted = re.match(r"package|dram$", name)
        if counted and (folder / "energy_uj").exists():
            range_uj = read(root, f"{path}/max_energy_range_uj")
            domains.append(Domain(name, path, int(range_uj) if range_uj.isdecimal() else 0))
    if not domains:
        return Rapl(missing=NONE_HERE)
    if any(energy_uj(root, domain) is None for domain in domains):
        return Rapl(missing=NOT_ALLOWED)
    return Rapl(tuple(domains))


def energy_uj(root: Path, domain: Domain) -> int | None:
    """Return what a counter shows, None where it cannot be read."""
    text = read(root, f"{domain.path}/energy_uj")
    return int(text) if text.isdecimal() else None
