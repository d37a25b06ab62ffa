"""Energy counters by the trees that Intel's and AMD's machines show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_inferbench.hardware.rapl import NONE_HERE, NOT_ALLOWED, energy_uj, find_rapl

Plant = Callable[[Mapping[str, str]], Path]


def counter(path: str, name: str, uj: int, range_uj: int = 262143328850) -> dict[str, str]:
    folder = f"sys/class/powercap/{path}"
    return {
        f"{folder}/name": f"{name}\n",
        f"{folder}/energy_uj": f"{uj}\n",
        f"{folder}/max_energy_range_uj": f"{range_uj}\n",
        f"{folder}/enabled": "1\n",
    }


LAPTOP = {
    "sys/class/powercap/intel-rapl/enabled": "1\n",
    **counter("intel-rapl:0", "package-0", 48_211_003_112),
    **counter("intel-rapl:0:0", "core", 12_000_000_000),
    **counter("intel-rapl:0:1", "uncore", 900_000_000),
    **counter("intel-rapl:0:2", "dram", 7_000_000_000, 65_712_999_613),
    **counter("intel-rapl:1", "psys", 91_000_000_000),
    **counter("intel-rapl-mmio:0", "package-0", 48_211_003_112),
}
TWO_SOCKETS = {
    **counter("intel-rapl:0", "package-0", 1),
    **counter("intel-rapl:0:0", "dram", 2, 65_712_999_613),
    **counter("intel-rapl:1", "package-1", 3),
    **counter("intel-rapl:1:0", "dram", 4, 65_712_999_613),
}
RYZEN = {
    **counter("intel-rapl:0", "package-0", 5, 65_532_610_987),
    **counter("intel-rapl:0:0", "core", 6, 65_532_610_987),
}
DIES = {
    **counter("intel-rapl:0", "package-0-die-0", 7),
    **counter("intel-rapl:1", "package-0-die-1", 8),
}


@pytest.mark.parametrize(
    ("files", "names", "total_uj"),
    [
        (LAPTOP, ["package-0", "dram"], 48_211_003_112 + 7_000_000_000),
        (TWO_SOCKETS, ["package-0", "dram", "package-1", "dram"], 1 + 2 + 3 + 4),
        (RYZEN, ["package-0"], 5),
        (DIES, ["package-0-die-0", "package-0-die-1"], 7 + 8),
    ],
)
def test_nothing_is_counted_twice(
    plant: Plant, files: dict[str, str], names: list[str], total_uj: int
) -> None:
    root = plant(files)
    rapl = find_rapl(root)
    assert ([domain.name for domain in rapl.domains], rapl.missing) == (names, "")
    assert sum(energy_uj(root, domain) or 0 for domain in rapl.domains) == total_uj


def test_where_a_counter_starts_again_is_read(plant: Plant) -> None:
    ranges = {domain.name: domain.range_uj for domain in find_rapl(plant(LAPTOP)).domains}
    assert ranges == {"package-0": 262143328850, "dram": 65_712_999_613}


def test_no_counters(tmp_path: Path) -> None:
    assert find_rapl(tmp_path).missing == NONE_HERE


def test_the_folder_alone_is_no_counter(plant: Plant) -> None:
    assert find_rapl(plant({"sys/class/powercap/intel-rapl/enabled": "1\n"})).missing == NONE_HERE


def test_counters_for_root_alone_say_how_to_be_read(plant: Plant) -> None:
    root = plant(RYZEN)
    energy = root / "sys/class/powercap/intel-rapl:0/energy_uj"
    energy.unlink()
    energy.mkdir()  # there, and cannot be read: whoever runs this test, root included
    rapl = find_rapl(root)
    assert (rapl.domains, rapl.missing) == ((), NOT_ALLOWED)
    assert "chmod a+r" in rapl.missing
