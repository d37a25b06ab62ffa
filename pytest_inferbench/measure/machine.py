"""The machine while it measures: takes a root path, gives its speed and who else used it.

Knows nothing of models. A slower machine must not be mistaken for slower code, nor a neighbour's
load for either.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROBE_REPEATS = 60
_PROBE_SIDE = 384


def probe_ms() -> float:
    """Return the 5th percentile of the times of a fixed matrix product on every core.

    It is what inference does, and it sees what a single thread does not: on a virtual machine
    whose cores had come to share one physical core, a model took 45 % longer, this product 17 %,
    and single-threaded work no longer. Comparable between runs of the same numpy.
    """
    a = np.linspace(0.0, 1.0, _PROBE_SIDE**2, dtype=np.float32).reshape(_PROBE_SIDE, -1)
    b = np.empty_like(a)
    times_ms = []
    for _ in range(PROBE_REPEATS):
        started = time.perf_counter_ns()
        np.matmul(a, a, out=b)
        times_ms.append((time.perf_counter_ns() - started) / 1e6)
    return float(np.percentile(times_ms, 5))


@dataclass(frozen=True)
class CpuTimes:
    """The machine's CPU time so far, over all cores, in seconds."""

    total_s: float
    busy_s: float
    steal_s: float

    @classmethod
    def read(cls, root: str = "/") -> CpuTimes:
        """Read the first line of ``/proc/stat``."""
        with Path(root, "proc/stat").open() as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        user, nice, system, idle, iowait, irq, softirq, steal = (*ticks, *[0] * (8 - len(ticks)))
        busy = user + nice + system + irq + softirq
        hertz = os.sysconf("SC_CLK_TCK")
        return cls((busy + idle + iowait + steal) / hertz, busy / hertz, steal / hertz)


@dataclass(frozen=True)
class CpuShares:
    """Shares of all cores' time, 0 to 1: taken by the hypervisor, used by strangers."""

    steal: float
    other: float


def cpu_shares(before: CpuTimes, after: CpuTimes, own_s: float) -> CpuShares:
    """Return who had the machine between two readings, while we used `own_s` of it."""
    total_s = after.total_s - before.total_s
    if total_s <= 0:
        return CpuShares(0.0, 0.0)
    other_s = max(0.0, after.busy_s - before.busy_s - own_s)
    return CpuShares((after.steal_s - before.steal_s) / total_s, other_s / total_s)


class CpuWatch:
    """Watches from its making until `shares` is asked for."""

    def __init__(self, root: str = "/", ours: Iterable[int] = ()) -> None:
        """Begin; `ours` are further processes that are no strangers, such as a second worker."""
        self._root, self._ours = root, tuple(ours)
        self._before = CpuTimes.read(root)
        self._own_before_s = own_cpu_s(root, self._ours)

    def shares(self) -> CpuShares:
        """Return who had the machine meanwhile."""
        own_s = own_cpu_s(self._root, self._ours) - self._own_before_s
        return cpu_shares(self._before, CpuTimes.read(self._root), own_s)


def own_cpu_s(root: str = "/", ours: Iterable[int] = ()) -> float:
    """Return the CPU time of this process and everything below it, ended children included.

    Args:
        root: The machine's tree.
        ours: Further processes that count as this one does.
    """
    times = _processes(root)
    parents = {pid: parent for pid, (parent, _) in times.items()}
    members = _family((os.getpid(), *ours), parents)
    ticks = sum(times[pid][1] for pid in members if pid in times)
    return ticks / os.sysconf("SC_CLK_TCK")


def family(pids: Iterable[int], root: str = "/") -> set[int]:
    """Return processes and everything below them: a server belongs to the worker it serves."""
    parents = {pid: parent for pid, (parent, _) in _processes(root).items()}
    return _family(pids, parents)


def cpu_s_by_process(root: str = "/") -> dict[int, float]:
    """Return the CPU time of every process, ended children included, by its pid."""
    hertz = os.sysconf("SC_CLK_TCK")
    return {pid: ticks / hertz for pid, (_, ticks) in _processes(root).items()}


def _family(pids: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    members = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def _processes(root: str) -> dict[int, tuple[int, float]]:
    """Return the parent and the CPU time, in ticks, of every process, by its pid."""
    found: dict[int, tuple[int, float]] = {}
    for entry in Path(root, "proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        found[int(entry.name)] = (int(fields[1]), sum(map(float, fields[11:15])))
    return found
