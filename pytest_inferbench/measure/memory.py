"""Memory of this process: takes a callable at most, gives MiB; knows no budget."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def rss_mib(root: str = "/") -> float:
    """Return what is resident now."""
    return int(Path(root, "proc/self/statm").read_text().split()[1]) * _PAGE_MIB


def peak_mib(root: str = "/") -> float:
    """Return the most that was ever resident (VmHWM)."""
    for line in Path(root, "proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return rss_mib(root)  # some sandboxes' /proc leaves it out


def trim() -> None:
    """Have the C library give back the memory that it only keeps for later, where it can."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if give_back is not None:
        give_back(0)


def growth_mib(run: Callable[[], object], calls: int) -> float:
    """Return how much resident memory a number of calls adds, after a tenth of it as warm-up."""
    for _ in range(max(2, calls // 10)):
        run()
    gc.collect()
    before_mib = rss_mib()
    for _ in range(calls):
        run()
    gc.collect()
    return rss_mib() - before_mib
