"""Names the CPU class: takes a machine's tree, gives an id and facts; knows nothing of GPUs.

Equal ids promise comparable speed, so the id holds what the CPU is and how many of it a process
may use. The name is the vendor's without its marketing; where a hypervisor hides the model behind
a bare "AMD EPYC", family and model number stand in for it.
"""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pytest_inferbench.hardware.tree import UNKNOWN, read, slug

_NOISE = re.compile(
    r"@.*|\bwith\b.*|\bw/.*|\bRadeon\b.*|\bversion\b.*"  # clock, graphics, QEMU's version
    r"|\(.*?\)|\b(?:CPU|Processor|Genuine|Common)\b"
    r"|\b(?:\d+|Dual|Triple|Quad|Six|Eight|Twelve|Sixteen)-Core\b"
    r"|\b\d+(?:st|nd|rd|th) Gen\b",
    re.IGNORECASE,
)

# A generation has two digits in a row somewhere: 9B14, i7-1165G7, E5-2676 v3; not "Ryzen 7".
_TELLS_GENERATION = re.compile(r"\d\d")

_ARM_IMPLEMENTERS = {
    0x41: "arm",
    0x42: "broadcom",
    0x43: "cavium",
    0x46: "fujitsu",
    0x48: "hisilicon",
    0x4E: "nvidia",
    0x50: "apm",
    0x51: "qualcomm",
    0x61: "apple",
    0xC0: "ampere",
}

_ARM_PARTS = {
    (0x41, 0xC07): "cortex-a7",
    (0x41, 0xC0F): "cortex-a15",
    (0x41, 0xD03): "cortex-a53",
    (0x41, 0xD04): "cortex-a35",
    (0x41, 0xD05): "cortex-a55",
    (0x41, 0xD07): "cortex-a57",
    (0x41, 0xD08): "cortex-a72",
    (0x41, 0xD09): "cortex-a73",
    (0x41, 0xD0A): "cortex-a75",
    (0x41, 0xD0B): "cortex-a76",
    (0x41, 0xD0C): "neoverse-n1",
    (0x41, 0xD0D): "cortex-a77",
    (0x41, 0xD40): "neoverse-v1",
    (0x41, 0xD41): "cortex-a78",
    (0x41, 0xD42): "cortex-a78ae",
    (0x41, 0xD44): "cortex-x1",
    (0x41, 0xD46): "cortex-a510",
    (0x41, 0xD47): "cortex-a710",
    (0x41, 0xD48): "cortex-x2",
    (0x41, 0xD49): "neoverse-n2",
    (0x41, 0xD4D): "cortex-a715",
    (0x41, 0xD4E): "cortex-x3",
    (0x41, 0xD4F): "neoverse-v2",
    (0x41, 0xD80): "cortex-a520",
    (0x41, 0xD81): "cortex-a720",
    (0x41, 0xD82): "cortex-x4",
    (0x41, 0xD83): "neoverse-v3ae",
    (0x41, 0xD84): "neoverse-v3",
    (0x41, 0xD8E): "neoverse-n3",
    (0x4E, 0x003): "denver2",
    (0x4E, 0x004): "carmel",
    (0x51, 0x001): "oryon",
    (0xC0, 0xAC3): "ampere1",
    (0xC0, 0xAC4): "ampere1a",
}

# What decides which kernels a runtime picks; a hypervisor may hide any of them.
_FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimddp", "fphp", "i8mm", "bf16", "sve", "sve2"),
    "hypervisor",
)


def cpu_id(root: Path = Path("/")) -> str:
    """Return the id of the CPU class, such as `cpu-amd-epyc-9b14-2c`."""
    return f"cpu-{_name(root)}-{usable_cpus(root) or f'{UNKNOWN}-'}c"


def cpu_facts(root: Path) -> dict[str, str]:
    """Return what two CPUs of one id may still differ in."""
    fields = _fields(root)
    flags = set((fields.get("flags") or fields.get("features", "")).split())
    return {
        "cpu_governor": ",".join(_policies(root, "scaling_governor")) or UNKNOWN,
        "cpu_features": " ".join(name for name in _FEATURES if name in flags) or UNKNOWN,
        **_clock_facts(root),
    }


def _clock_facts(root: Path) -> dict[str, str]:
    """What may hold the clocks back, or let them go; what the kernel does not tell is left out."""
    most_khz = [text for text in _policies(root, "scaling_max_freq") if text.isdecimal()]
    boost = read(root, "sys/devices/system/cpu/cpufreq/boost")
    no_turbo = read(root, "sys/devices/system/cpu/intel_pstate/no_turbo")
    turbo = {"0": "off", "1": "on"}.get(boost) or {"0": "on", "1": "off"}.get(no_turbo)
    facts = {
        "cpu_max_mhz": ",".join(f"{mhz}" for mhz in sorted({int(k) // 1000 for k in most_khz})),
        "cpu_turbo": turbo or "",
        "cpu_preference": ",".join(_policies(root, "energy_performance_preference")),
        "power_profile": read(root, "sys/firmware/acpi/platform_profile"),
    }
    return {name: value for name, value in facts.items() if value}


def _policies(root: Path, name: str) -> list[str]:
    """The different values that the clock policies of all CPUs have for a name."""
    found = root.glob(f"sys/devices/system/cpu/cpufreq/policy*/{name}")
    return sorted({read(root, str(path.relative_to(root))) for path in found} - {""})


def usable_cpus(root: Path) -> int | None:
    """Return how many CPUs a process here may keep busy: online, allowed, within its quota."""
    here = re.search(
        r"^Cpus_allowed_list:[ \t]*(\S+)", read(root, "proc/self/status"), re.MULTILINE
    )
    allowed = _listed(here.group(1)) if here else set()
    online = _listed(read(root, "sys/devices/system/cpu/online"))
    cpus = len(allowed & online or allowed or online) or len(
        re.findall(r"^processor\s*:", read(root, "proc/cpuinfo"), re.MULTILINE)
    )
    if not cpus:
        return None
    return max(1, math.ceil(min(cpus, *_quotas(root), math.inf)))


def _name(root: Path) -> str:
    fields = _fields(root)
    if "cpu implementer" in fields:  # before the model name, which is "ARMv8 Processor" there
        return slug("-".join(_arm_parts(root)))
    name = fields.get("model name") or fields.get("cpu") or fields.get("uarch") or ""
    if not name and root == Path("/"):
        name = platform.processor() or platform.machine()
    return cpu_name(name, fields.get("cpu family"), fields.get("model"))


def cpu_name(name: str, family: str | None = None, model: str | None = None) -> str:
    """Return a vendor's model name as a part of an id.

    Args:
        name: As in `/proc/cpuinfo`.
        family: Appended with the model where the name does not tell the generation.
        model: See `family`.
    """
    plain = re.sub(r"\((?:R|TM)\)|[®™]", " ", name, flags=re.IGNORECASE)
    part = slug(_NOISE.sub(" ", plain))
    if family is None or model is None or _TELLS_GENERATION.search(part):
        return part
    return f"{part}-{slug(f'f{family}m{model}')}"


def _fields(root: Path) -> dict[str, str]:
    """The fields of the first CPU, and those that stand for all; keys in lower case."""
    fields: dict[str, str] = {}
    for line in read(root, "proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields


def _arm_parts(root: Path) -> list[str]:
    """The implementer and each kind of core, in order."""
    pairs = re.findall(
        r"^CPU implementer\s*:\s*(0x[0-9a-f]+)$.*?^CPU part\s*:\s*(0x[0-9a-f]+)$",
        read(root, "proc/cpuinfo"),
        re.MULTILINE | re.DOTALL | re.IGNORECASE,
    )
    names = []
    for implementer, part in ((int(a, 16), int(b, 16)) for a, b in pairs):
        names.append(_ARM_IMPLEMENTERS.get(implementer, f"implementer-{implementer:x}"))
        names.append(_ARM_PARTS.get((implementer, part), f"part-{part:x}"))
    return list(dict.fromkeys(names)) or [UNKNOWN]


def _listed(text: str) -> set[int]:
    """Parse the kernel's lists, such as `0-3,6`; empty when it is none."""
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip())
        if match is None:
            return set()
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return cpus


def _quotas(root: Path) -> Iterator[float]:
    """The CPU time that this process's control group and those above it get, in CPUs."""
    for line in read(root, "proc/self/cgroup").splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        group = PurePosixPath("/") / path
        for folder in (group, *group.parents):
            if not controllers:
                limit = read(root, f"sys/fs/cgroup/{folder}/cpu.max")
            elif "cpu" in controllers.split(","):
                base = f"sys/fs/cgroup/cpu/{folder}/cpu.cfs"
                limit = f"{read(root, f'{base}_quota_us')} {read(root, f'{base}_period_us')}"
            else:
                break
            match = re.fullmatch(r"(\d+) (\d+)", limit)
            if match and int(match[1]) and int(match[2]):
                yield int(match[1]) / int(match[2])
