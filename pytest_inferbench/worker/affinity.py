"""Which CPUs a worker runs on: takes the words of `[latency] pin`, gives CPUs, or a named error.

Runs in the worker, before anything is imported that makes threads: they inherit it. The standard
library only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pytest_inferbench.errors import InferbenchError

VARIABLE = "INFERBENCH_PIN"
"""Carries it to the worker: `0,1` or `auto`."""

AUTO = "auto"


def pin_this_process(environment: Mapping[str, str]) -> None:
    """Keep this process, and every thread it will have, to the CPUs that were asked for.

    Raises:
        InferbenchError: They are not to be had here (IB-673).
    """
    asked = environment.get(VARIABLE)
    if asked is None:
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen(asked, allowed, os.cpu_count() or 1))


def chosen(asked: str, allowed: Collection[int], count: int, root: str = "/") -> list[int]:
    """Return the CPUs that `auto`, or a list such as `0,1`, comes to.

    Args:
        asked: The words.
        allowed: The CPUs that this process may run on.
        count: How many the machine has, for messages.
        root: Where ``/sys`` is.

    Returns:
        With `auto`, one CPU of each core among those allowed, so that no two threads share one.

    Raises:
        InferbenchError: A CPU does not exist, or is not allowed (IB-673).
    """
    if asked == AUTO:
        return sorted({min({cpu, *(_siblings(cpu, root) & set(allowed))}) for cpu in allowed})
    wanted = [int(word) for word in asked.split(",")]
    refused = [cpu for cpu in wanted if cpu not in allowed]
    if not refused:
        return sorted(wanted)
    whys = [
        f"CPU {cpu} {'is not allowed to this process' if cpu < count else 'does not exist'}"
        for cpu in refused
    ]
    usable = ", ".join(map(str, sorted(allowed)))
    raise InferbenchError(
        "IB-673",
        f"the worker cannot be pinned to CPUs {asked}: {'; '.join(whys)}",
        f'Here there are {usable}: set [latency] pin to some of them, or to "auto".',
    )


def _siblings(cpu: int, root: str) -> frozenset[int]:
    """Return the CPUs of one core; only this one where the kernel does not tell."""
    file = Path(root, f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        text = file.read_text().strip()
    except OSError:
        return frozenset({cpu})
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
