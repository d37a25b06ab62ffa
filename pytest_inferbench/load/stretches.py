"""A stretch of load as its conductor sees it: who takes part, and what they told.

Knows the clock, and no messages.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping

from pytest_inferbench.load.result import LoadResult, together


class Stretch:
    """A stretch that was begun.

    Args:
        clients: How many ask in it.
        processes: How many processes do.
        due_s: How long it is to be measured, where that is known.
    """

    def __init__(self, clients: int, processes: int, due_s: float = 0.0) -> None:
        self.clients = clients
        self._waiting = processes
        self._due_s = due_s
        self._counts_s = math.inf

    @property
    def counted(self) -> bool:
        """Whether it has counted in every process."""
        return self._counts_s < math.inf

    @property
    def measured_s(self) -> float:
        """How long it has counted in every process."""
        return max(0.0, time.monotonic() - self._counts_s)

    @property
    def shortfall(self) -> str:
        """What it lacks if it ends now; nothing if all is well."""
        what = f"a stretch of {self.clients} clients ended"
        if not self.counted:
            return f"{what} before it counted"
        measured_s = self.measured_s
        if measured_s < self._due_s:
            return f"{what} after {measured_s:.1f} of {self._due_s:g} s"
        return ""

    def counts(self) -> bool:
        """Note that it counts in one more process, and return whether it does in all of them."""
        self._waiting -= 1
        if self._waiting == 0:
            self._counts_s = time.monotonic()
        return self._waiting == 0


class Parts:
    """What the processes of a stretch tell, one part each."""

    def __init__(self) -> None:
        self.expected: set[str] = set()
        self._told: dict[str, LoadResult | None] = {}

    @property
    def complete(self) -> bool:
        """Whether everyone has told."""
        return self.expected <= self._told.keys()

    def expect(self, nodes: Iterable[str]) -> None:
        """Wait for these, and forget what others told."""
        self.expected = set(nodes)
        self._told = {}

    def add(self, node: str, part: LoadResult | None) -> None:
        """Take a part; None from one who measured nothing."""
        if node in self.expected and self._told.get(node) is None:
            self._told[node] = part

    def taken(self) -> tuple[LoadResult | None, int]:
        """Return all parts as one result, None where there is none, and how many are missing."""
        parts = [part for part in self._told.values() if part is not None]
        missing = len(self.expected) - len(parts)
        self.expect(())
        return (together(parts) if parts else None), missing


def shares(users: Mapping[str, int]) -> dict[str, float]:
    """Return what part of a rate each process makes: as it has users."""
    total = sum(users.values())
    return {node: count / total for node, count in users.items()} if total else {}
