from __future__ import annotations

import mmap
import multiprocessing
import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.measure import machine, memory
from pytest_inferbench.measure.machine import CpuTimes, cpu_shares


def stat_tree(root, ticks, own=(0, 0)):
    (root / "proc" / str(os.getpid())).mkdir(parents=True, exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {' '.join(map(str, ticks))} 0 0\ncpu0 1 2 3\n")
    head = f"{os.getpid()} (a (very) odd) name) S 1 2 3 4 5 6 7 8 9 10"
    (root / "proc" / str(os.getpid()) / "stat").write_text(f"{head} {own[0]} {own[1]} 0 0 20\n")
    return str(root)


def test_shares_of_a_recorded_machine(tmp_path):
    root = stat_tree(tmp_path, [100, 0, 100, 1000, 0, 0, 0, 50])
    watch = machine.CpuWatch(root)
    stat_tree(tmp_path, [160, 10, 120, 1090, 0, 0, 0, 70], own=(40, 10))
    shares = watch.shares()  # 200 ticks: 90 busy, of them 50 ours; 20 stolen; 90 idle
    assert shares.steal == pytest.approx(0.1)
    assert shares.other == pytest.approx(0.2)


def test_a_worker_beside_this_one_is_no_stranger_either(tmp_path):
    root = stat_tree(tmp_path, [100, 0, 0, 1000, 0, 0, 0, 0])
    hertz = os.sysconf("SC_CLK_TCK")
    for pid, parent, ticks in ((900_077, 1, 30), (900_078, 900_077, 12), (900_099, 1, 50)):
        (tmp_path / f"proc/{pid}").mkdir()
        line = f"{pid} (other) S {parent} 2 3 4 5 6 7 8 9 10 {ticks} 0 0 0 20\n"
        (tmp_path / f"proc/{pid}/stat").write_text(line)
    assert machine.own_cpu_s(root) == 0
    assert machine.own_cpu_s(root, ours=[900_077]) * hertz == pytest.approx(42)


def test_a_kernel_that_tells_less_is_read_too(tmp_path):
    root = stat_tree(tmp_path, [10, 0, 10, 80])
    (tmp_path / "proc/stat").write_text("cpu 10 0 10 80\n")
    assert CpuTimes.read(root).steal_s == 0.0
    assert CpuTimes.read(root).busy_s / CpuTimes.read(root).total_s == pytest.approx(0.2)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e7))
def test_shares_are_shares(busy_s, steal_s, idle_s, own_s):
    before = CpuTimes(5.0, 3.0, 1.0)
    after = CpuTimes(5.0 + busy_s + steal_s + idle_s, 3.0 + busy_s, 1.0 + steal_s)
    shares = cpu_shares(before, after, own_s)
    assert 0 <= shares.steal <= 1 + 1e-6
    assert 0 <= shares.other <= 1 + 1e-6


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_our_own_work_and_our_childrens_is_not_a_strangers():
    before_s = machine.own_cpu_s()
    burn(0.15)
    child = multiprocessing.get_context("spawn").Process(target=burn, args=(0.15,))
    child.start()
    child.join()
    assert machine.own_cpu_s() - before_s >= 0.28


def test_a_stranger_is_noticed(tmp_path):
    """A reading whose own time is left out sees our work as a stranger's."""
    before = CpuTimes.read()
    burn(0.3)
    after = CpuTimes.read()
    assert cpu_shares(before, after, 0.0).other > cpu_shares(before, after, 0.25).other


@pytest.mark.slow
@pytest.mark.alone
def test_the_probe_is_quick_and_repeats():
    values_ms = [machine.probe_ms() for _ in range(5)]
    assert min(values_ms) > 0
    assert max(values_ms) < 3 * min(values_ms)


def test_memory_of_this_process():
    assert 0 < memory.rss_mib() <= memory.peak_mib() * 1.05
    before_mib = memory.rss_mib()
    held = np.ones(8 * 2**20)  # 64 MiB, touched
    assert memory.rss_mib() - before_mib > 48
    peak_mib = memory.peak_mib()
    del held
    assert memory.peak_mib() >= peak_mib * 0.99


def test_peak_without_its_line(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("1000 512 0 0 0 0 0\n")
    (tmp_path / "proc/self/status").write_text("Name:\tx\nVmRSS:\t 10 kB\n")
    page_mib = os.sysconf("SC_PAGE_SIZE") / 2**20
    assert memory.peak_mib(str(tmp_path)) == memory.rss_mib(str(tmp_path)) == 512 * page_mib
    (tmp_path / "proc/self/status").write_text("Name:\tx\nVmHWM:\t 10240 kB\n")
    assert memory.peak_mib(str(tmp_path)) == 10.0


def test_a_leak_grows_and_honest_work_does_not():
    leaked = []

    def leak() -> None:  # 4 MiB a call, in pages that nobody had before
        leaked.append(mmap.mmap(-1, 2**22))
        leaked[-1].write(b"x" * 2**22)

    assert memory.growth_mib(leak, 40) > 100  # other tests' memory may be given back meanwhile
    assert memory.growth_mib(lambda: np.ones(2**17).sum(), 40) < 10
