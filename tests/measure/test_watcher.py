"""What a watcher sees: recorded trees whose files change while it watches, and this machine."""

from __future__ import annotations

import json
import threading
import time

import pytest

from pytest_inferbench.measure.watcher import MOST_POINTS, POLL_S, Watcher, _thinned

RAPL = "sys/class/powercap/intel-rapl:0"
RAILS = "sys/class/hwmon/hwmon1"
GPU_CLOCK = "sys/class/devfreq/17000000.gpu/cur_freq"
ALARM = "sys/class/thermal/cooling_device0"
GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
HEAT = "sys/devices/system/cpu/cpu0/thermal_throttle"

SERVER = {
    f"{RAPL}/name": "package-0",
    f"{RAPL}/energy_uj": "262143000000",
    f"{RAPL}/max_energy_range_uj": "262143328850",
    f"{RAPL}:0/name": "dram",
    f"{RAPL}:0/energy_uj": "1000000",
    f"{RAPL}:0/max_energy_range_uj": "65712999613",
    GOVERNOR: "performance",
    f"{HEAT}/package_throttle_count": "4",
}
ORIN = {
    "var/lib/nvpmodel/status": "pmode:0002",
    f"{RAILS}/name": "ina3221",
    f"{RAILS}/in1_label": "VDD_IN",
    f"{RAILS}/in1_input": "5000",
    f"{RAILS}/curr1_input": "2000",
    GPU_CLOCK: "612000000",
    f"{ALARM}/type": "gpu-throttle-alert",
    f"{ALARM}/cur_state": "0",
}


@pytest.fixture
def tree(tmp_path):
    """Write files below a root, by path; again while it is watched."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # in one step, so that no look falls between an empty file and a full one
            fresh = path.with_name(f"{path.name}.new")
            fresh.write_text(content + "\n")
            fresh.replace(path)
        return tmp_path

    return write


def test_energy_counters_are_read_before_and_after(tree):
    watcher = Watcher("cpu", root=tree(SERVER))
    watcher.start()
    time.sleep(0.05)
    # the package starts again from zero: 328,850 + 9,671,150 = 10 J; its memory 2 J
    tree({f"{RAPL}/energy_uj": "9671150", f"{RAPL}:0/energy_uj": "3000000"})
    seen = watcher.stop()
    assert seen.watts * seen.seconds == pytest.approx(12.0)
    assert (seen.power_source, seen.power_missing) == ("RAPL package-0+dram", "")
    assert seen.clocks_mhz == ()
    assert seen.cost_share == 0, "what only counts up needs no thread"


def test_counters_that_stand_still_are_no_power(tree):
    watcher = Watcher("cpu", root=tree(SERVER))
    watcher.start()
    seen = watcher.stop()
    assert (seen.watts, seen.power_missing) == (None, "the CPU's energy counters stood still")


def test_what_changes_meanwhile_is_told(tree):
    watcher = Watcher("cpu", root=tree(SERVER))
    watcher.start()
    tree({GOVERNOR: "powersave", f"{HEAT}/package_throttle_count": "6"})
    seen = watcher.stop()
    assert (seen.before["governor"], seen.after["governor"]) == ("performance", "powersave")
    assert seen.throttle_events == {"heat of the CPU": 2}


def test_rails_clocks_and_alarms_are_polled(tree):
    watcher = Watcher("jetson", root=tree(ORIN))
    watcher.start()
    time.sleep(4.5 * POLL_S)
    tree({GPU_CLOCK: "306000000", f"{ALARM}/cur_state": "1"})
    time.sleep(4.5 * POLL_S)
    seen = watcher.stop()
    assert seen.watts == pytest.approx(10.0)
    assert seen.power_source == "rails VDD_IN"
    assert set(seen.clocks_mhz) == {612.0, 306.0}
    assert 0.1 < seen.throttled["gpu-throttle-alert"] < 0.9
    assert 0 < seen.cost_share < 0.5


def test_clocks_of_the_warm_up_say_nothing(tree):
    watcher = Watcher("jetson", root=tree({**ORIN, GPU_CLOCK: "306000000"}))
    watcher.start()
    time.sleep(1.5 * POLL_S)
    tree({GPU_CLOCK: "612000000"})
    warm_s = time.perf_counter() - watcher._started_s
    time.sleep(2.5 * POLL_S)
    assert set(watcher.stop(warmup_s=warm_s).clocks_mhz) == {612.0}


def test_a_cpu_on_a_board_with_rails_has_the_boards_power(tree):
    watcher = Watcher("cpu", root=tree(ORIN))
    watcher.start()
    time.sleep(2.5 * POLL_S)
    seen = watcher.stop()
    assert seen.watts == pytest.approx(10.0)
    assert seen.clocks_mhz == (), "the GPU's clock is nothing to the CPU's cells"


@pytest.mark.parametrize("kind", ["cpu", "jetson", "nvidia", "remote"])
def test_what_cannot_be_read_is_never_invented(tmp_path, kind):
    watcher = Watcher(kind, root=tmp_path)
    watcher.start()
    seen = watcher.stop()
    if kind != "nvidia" or watcher._gpu is None:
        assert (seen.watts, seen.device_mib) == (None, None)
        assert seen.power_missing
        assert seen.device_missing
    assert not seen.strangers


def test_it_watches_again_and_again_and_leaves_no_thread(tree):
    watcher = Watcher("jetson", root=tree(ORIN))
    before = threading.active_count()
    for _ in range(3):
        watcher.start(ours=[1])
        time.sleep(0.02)
        assert watcher.stop().watts == pytest.approx(10.0)
    assert threading.active_count() == before


def test_power_over_time_is_told_with_no_more_points_than_a_picture_shows():
    points = [[float(n), n / 10] for n in range(1000)]
    thin = _thinned(points)
    assert len(thin) == MOST_POINTS
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert list(thin) == sorted(thin)
    assert _thinned(points[:5]) == tuple(points[:5])


def test_a_sighting_is_plain(tree):
    watcher = Watcher("jetson", root=tree(ORIN))
    watcher.start()
    fields = watcher.stop().as_fields()
    assert json.loads(json.dumps(fields)) == fields
