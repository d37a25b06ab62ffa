"""The CPU's class: its name, and how many of it a process may use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.hardware.cpu import cpu_facts, cpu_id, cpu_name, usable_cpus

Plant = Callable[[Mapping[str, str]], Path]


def x86(name: str, family: int, model: int, cpus: int = 2, flags: str = "fpu sse2 avx2") -> str:
    return "\n".join(
        f"processor\t: {index}\nvendor_id\t: AuthenticAMD\ncpu family\t: {family}\n"
        f"model\t\t: {model}\nmodel name\t: {name}\nstepping\t: 1\nflags\t\t: {flags}\n"
        for index in range(cpus)
    )


def arm(*cores: tuple[str, str], name: str = "") -> str:
    return "\n".join(
        f"processor\t: {index}\n{name}BogoMIPS\t: 243.75\nFeatures\t: fp asimd fphp asimddp\n"
        f"CPU implementer\t: {implementer}\nCPU architecture: 8\nCPU variant\t: 0x3\n"
        f"CPU part\t: {part}\nCPU revision\t: 1\n"
        for index, (implementer, part) in enumerate(cores)
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("AMD EPYC 9B14", "amd-epyc-9b14"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("AMD EPYC", "amd-epyc-f25m1"),
        ("AMD EPYC-Milan Processor", "amd-epyc-milan-f25m1"),
        ("AMD Ryzen 7 PRO 7840U w/ Radeon 780M Graphics", "amd-ryzen-7-pro-7840u"),
        ("AMD A10-7850K APU with Radeon(TM) R7 Graphics", "amd-a10-7850k-apu"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "intel-xeon-platinum-8375c"),
        ("Intel(R) Xeon(R) CPU E5-2676 v3 @ 2.40GHz", "intel-xeon-e5-2676-v3"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-xeon-f25m1"),
        ("Intel(R) Xeon(R) Processor", "intel-xeon-f25m1"),
        ("Intel Xeon Processor (Skylake, IBRS)", "intel-xeon-f25m1"),
        ("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "intel-core-i7-1165g7"),
        ("Intel(R) Core(TM) Ultra 7 155H", "intel-core-ultra-7-155h"),
        ("Intel(R) N100", "intel-n100"),
        ("Dual-Core AMD Opteron(tm) Processor 2214", "amd-opteron-2214"),
        ("QEMU Virtual CPU version 2.5+", "qemu-virtual-f25m1"),
        ("Common KVM processor", "kvm-f25m1"),
        ("", "unknown-f25m1"),
        ("®", "unknown-f25m1"),
    ],
)
def test_x86_names_lose_their_marketing(plant: Plant, name: str, part: str) -> None:
    assert cpu_id(plant({"proc/cpuinfo": x86(name, 25, 1)})) == f"cpu-{part}-2c"


GRAVITON3 = ("0x41", "0xd40")
CARMEL = ("0x4e", "0x004")


@pytest.mark.parametrize(
    ("cpuinfo", "part"),
    [
        (arm(*[GRAVITON3] * 4), "arm-neoverse-v1-4c"),
        (arm(*[("0x41", "0xd0c")] * 2), "arm-neoverse-n1-2c"),
        (
            arm(*[CARMEL] * 6, name="model name\t: ARMv8 Processor rev 0 (v8l)\n"),
            "nvidia-carmel-6c",
        ),
        (
            arm(*[("0x41", "0xd08")] * 4) + "Model\t\t: Raspberry Pi 4 Model B\n",
            "arm-cortex-a72-4c",
        ),
        (
            arm(("0x41", "0xd05"), ("0x41", "0xd05"), ("0x41", "0xd0b")),
            "arm-cortex-a55-cortex-a76-3c",
        ),
        (arm(("0x4e", "0x003"), ("0x41", "0xd07")), "nvidia-denver2-arm-cortex-a57-2c"),
        (arm(("0x99", "0xabc")), "implementer-99-part-abc-1c"),
        ("processor : 0\nCPU implementer : garbage\n", "unknown-1c"),
    ],
)
def test_arm_is_named_by_its_parts(plant: Plant, cpuinfo: str, part: str) -> None:
    assert cpu_id(plant({"proc/cpuinfo": cpuinfo})) == f"cpu-{part}"


def test_other_architectures_name_themselves(plant: Plant) -> None:
    power = "processor\t: 0\ncpu\t\t: POWER9 (architected), altivec supported\n"
    assert cpu_id(plant({"proc/cpuinfo": power})) == "cpu-power9-altivec-supported-1c"


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_name_makes_a_valid_part(name: str, family: str | None, model: str | None) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cpu_name(name, family, model))


ALLOWED = "Cpus_allowed:\tff\nCpus_allowed_list:\t{}\n"
V2 = "0::/app.slice/job\n"
V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"proc/self/status": ALLOWED.format("0-3,6")}, 5),
        ({"proc/self/status": "nonsense"}, 8),
        (
            {"proc/self/status": ALLOWED.format("0-127"), "sys/devices/system/cpu/online": "0-3\n"},
            4,
        ),
        ({"sys/devices/system/cpu/online": "0-5"}, 6),
        ({"sys/devices/system/cpu/online": "none of it"}, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/app.slice/job/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/app.slice/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "1 0"}, 8),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_cpus_count_that_a_process_may_use(plant: Plant, files: dict[str, str], cpus: int) -> None:
    assert usable_cpus(plant({"proc/cpuinfo": x86("AMD EPYC 9B14", 25, 17, 8), **files})) == cpus


def test_what_cannot_be_told_is_called_unknown(tmp_path: Path) -> None:
    assert cpu_id(tmp_path) == "cpu-unknown-unknown-c"
    assert set(cpu_facts(tmp_path).values()) == {"unknown"}


@given(garbage=st.binary(max_size=300))
def test_garbage_is_no_failure(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    root = tmp_path_factory.mktemp("root")
    for path in ("proc/cpuinfo", "proc/self/status", "proc/self/cgroup", "sys/fs/cgroup/cpu.max"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(garbage)
    assert re.fullmatch(r"cpu-[a-z0-9-]+", cpu_id(root))


def test_facts_tell_what_one_id_may_hide(plant: Plant) -> None:
    policies = "sys/devices/system/cpu/cpufreq"
    root = plant(
        {
            "proc/cpuinfo": x86("AMD EPYC", 25, 1, flags="hypervisor avx512_vnni avx2 nx"),
            f"{policies}/policy0/scaling_governor": "performance\n",
            f"{policies}/policy1/scaling_governor": "powersave\n",
        }
    )
    assert cpu_facts(root) == {
        "cpu_governor": "performance,powersave",
        "cpu_features": "avx2 avx512_vnni hypervisor",
    }


@pytest.mark.parametrize(
    ("files", "turbo"),
    [
        ({"cpufreq/boost": "1"}, "on"),
        ({"cpufreq/boost": "0"}, "off"),
        ({"intel_pstate/no_turbo": "0"}, "on"),
        ({"intel_pstate/no_turbo": "1"}, "off"),
        ({"cpufreq/boost": "?"}, None),
        ({}, None),
    ],
)
def test_whether_clocks_may_be_boosted(
    plant: Plant, files: Mapping[str, str], turbo: str | None
) -> None:
    root = plant({f"sys/devices/system/cpu/{name}": f"{text}\n" for name, text in files.items()})
    assert cpu_facts(root).get("cpu_turbo") == turbo


def test_what_holds_clocks_back_is_a_fact(plant: Plant) -> None:
    policies = "sys/devices/system/cpu/cpufreq"
    root = plant(
        {
            f"{policies}/policy0/scaling_max_freq": "3400000\n",
            f"{policies}/policy1/scaling_max_freq": "800000\n",
            f"{policies}/policy2/scaling_max_freq": "3400000\n",
            f"{policies}/policy3/scaling_max_freq": "nonsense\n",
            f"{policies}/policy0/energy_performance_preference": "balance_performance\n",
            "sys/firmware/acpi/platform_profile": "low-power\n",
        }
    )
    facts = cpu_facts(root)
    assert facts["cpu_max_mhz"] == "800,3400"
    assert facts["cpu_preference"] == "balance_performance"
    assert facts["power_profile"] == "low-power"


def test_this_machine_follows_affinity() -> None:
    """For real: a process bound to one CPU is of another class than one that may use all."""
    script = "from pytest_inferbench.hardware.cpu import cpu_id; print(cpu_id())"
    bound = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {script}"
    everywhere, on_one = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for code in (script, bound)
    )
    assert on_one.endswith("-1c")
    assert "unknown" not in everywhere
    assert everywhere.rsplit("-", 1)[0] == on_one.rsplit("-", 1)[0]
    assert int(everywhere.rsplit("-", 1)[1].removesuffix("c")) <= len(os.sched_getaffinity(0))
