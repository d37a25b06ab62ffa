"""Names a Jetson: takes a machine's tree, gives the module's id with its power mode; knows no NVML.

The module is told by its part number in the device tree's `compatible`: the `model` next to it
names the carrier board, changes between JetPack releases, and is whatever a board maker likes.
The power mode sets clocks and cores, so modes are classes of their own.
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_inferbench.hardware.tree import UNKNOWN, read, slug

# Part numbers whose GPUs, CPUs and memory are equally fast share a name; the smaller or hardened
# sibling says so.
_MODULES = {
    "p3834-0008": "agx-thor",
    "p3834-0000": "t4000",
    "p3701-0000": "agx-orin",
    "p3701-0005": "agx-orin",
    "p3701-0004": "agx-orin-32gb",
    "p3701-0008": "agx-orin-industrial",
    "p3767-0000": "orin-nx",
    "p3767-0001": "orin-nx-8gb",
    "p3767-0003": "orin-nano",
    "p3767-0005": "orin-nano",
    "p3767-0004": "orin-nano-4gb",
    "p3668-0000": "xavier-nx",
    "p3668-0001": "xavier-nx",
    "p3668-0003": "xavier-nx-16gb",
    "p2972-0000": "agx-xavier",
    "p2888-0001": "agx-xavier",
    "p2888-0003": "agx-xavier",
    "p2888-0004": "agx-xavier",
    "p2888-0005": "agx-xavier-64gb",
    "p2888-0006": "agx-xavier-8gb",
    "p2888-0008": "agx-xavier-industrial",
    "p3636-0001": "tx2-nx",
    "p3489-0000": "tx2i",
    "p3489-0888": "tx2-4gb",
    "p3310-1000": "tx2",
    "p3448-0000": "nano",
    "p3448-0002": "nano",
    "p3448-0003": "nano-2gb",
    "p2180-1000": "tx1",
}

_NO_NAME = re.compile(
    r"\b(?:NVIDIA|Jetson|Developer|Development|Kit|Engineering|Reference|Super)\b|\(.*?\)",
    re.IGNORECASE,
)


def jetson_id(root: Path = Path("/")) -> str | None:
    """Return the id, such as `jetson-orin-nano-15w`; None where this is no Jetson."""
    compatible = read(root, "proc/device-tree/compatible").split("\0")
    model = read(root, "proc/device-tree/model").replace("_", " ")
    if not any(name.startswith("nvidia,tegra") for name in compatible):
        return None
    parts = re.findall(r"p\d{4}-\d{4}", " ".join(compatible))
    module = next((_MODULES[part] for part in parts if part in _MODULES), None)
    return f"jetson-{module or slug(_NO_NAME.sub(' ', model))}-{power_mode(root)}"


def power_mode(root: Path) -> str:
    """Return nvpmodel's mode as a part of an id: `15w`, `maxn-super`, `mode-3`, `unknown-mode`."""
    status = re.search(r"\bpmode:(\d+)", read(root, "var/lib/nvpmodel/status"))
    if status is None:
        return f"{UNKNOWN}-mode"
    number = int(status[1])
    for mode, name in re.findall(
        r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)",
        read(root, "etc/nvpmodel.conf"),
        re.MULTILINE,
    ):
        if int(mode) == number:
            return slug(re.sub(r"^MODE_", "", name))
    return f"mode-{number}"


def jetson_facts(root: Path) -> dict[str, str]:
    """Return the power mode and the release of Jetson Linux."""
    release = re.search(
        r"R(\d+) \(release\), REVISION: ([\d.]+)", read(root, "etc/nv_tegra_release")
    )
    return {
        "power_mode": power_mode(root),
        "jetson_linux": f"{release[1]}.{release[2]}" if release else UNKNOWN,
    }
