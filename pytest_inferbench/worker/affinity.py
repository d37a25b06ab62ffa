"""Which CPUs a worker runs on: takes the words of `[latency] pin`, gives CPUs, or a named error.

Runs in the worker, before anything is imported that makes threads: they inherit it. The standard
library only.
"""

from __future__ import annotations

import contextlib
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


def pinned() -> frozenset[int]:
    """Return the CPUs that this process was pinned to; none where it was not."""
    return frozenset(os.sched_getaffinity(0)) if VARIABLE in os.environ else frozenset()


def refuse_strays(cpus: Collection[int], root: str = "/") -> None:
    """Refuse threads that a runtime has moved elsewhere: it may, and some do so by themselves.

    Args:
        cpus: What they are to keep to; nothing is asked where it is empty.
        root: Where ``/proc`` is.

    Raises:
        InferbenchError: A thread of this process may run elsewhere (IB-674).
    """
    if not cpus:
        return
    elsewhere: set[int] = set()
    for entry in Path(root, "proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            elsewhere |= os.sched_getaffinity(int(entry.name)) - set(cpus)
    if elsewhere:
        raise InferbenchError(
            "IB-674",
            f"the runtime moved threads to CPUs {_listed(elsewhere)}, and the worker was pinned to"
            f" {_listed(cpus)}",
            "Set its number of threads in the backend's options, and leave its own pinning out.",
        )


def _listed(cpus: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))


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
    raise InferbenchError(
        "IB-673",
        f"the worker cannot be pinned to CPUs {asked}: {'; '.join(whys)}",
        f'Here there are {_listed(allowed)}: set [latency] pin to some of them, or to "auto".',
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
