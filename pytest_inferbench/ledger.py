"""What happened to each of our items: takes reports' payloads, answers who reached a verdict.

Lives in the process that sees every report (the only one, or xdist's controller). Knows plain
dicts and outcomes; neither runtimes nor how a verdict was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Payload = dict[str, Any]
"""What one test of ours says beside its outcome: plain types only, for it crosses processes.

Keys: `cell` (id), `kind` (latency, similarity, ...), `judgements` (list of plain judgements),
`figures` (name -> number, for tables), `addition` (a session to record) or None, `not_asked` (why
its question does not apply to this cell).
"""


@dataclass
class Entry:
    """One test item and what became of it over its phases."""

    nodeid: str
    outcome: str
    cell: str | None = None
    reason: str = ""
    duration_s: float = 0.0
    payload: Payload = field(default_factory=dict)

    @property
    def reached_verdict(self) -> bool:
        """Whether it says something about its cell: it ran, and passed or failed."""
        return self.outcome in ("passed", "failed")

    @property
    def was_asked(self) -> bool:
        """Whether its question applies to its cell; what does not is neither pass nor silence."""
        return self.reached_verdict or "not_asked" not in self.payload


class Ledger:
    """Every item of the session, ours and others'."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._set_aside: list[Entry] = []
        self._kept: dict[str, set[str]] = {}

    def note(
        self,
        nodeid: str,
        *,
        outcome: str,
        reason: str = "",
        duration_s: float = 0.0,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in one phase (setup, call or teardown) of an item.

        A failure in any phase stays; a skip replaces a pass; figures accumulate. What had regressed
        before it was run again keeps that verdict and its figures.
        """
        if nodeid in self._kept:
            self._kept[nodeid].add(outcome)
            return
        entry = self._entries.setdefault(nodeid, Entry(nodeid, outcome))
        if entry.outcome != "failed" and outcome != "passed":
            entry.outcome, entry.reason = outcome, reason
        entry.duration_s += duration_s
        if payload:
            entry.cell = payload.get("cell", entry.cell)
            entry.payload.update(payload)

    def run_again(self, nodeid: str, reason: str, payload: Mapping[str, Any] | None) -> None:
        """Set an attempt aside, for the item is about to run again, as a rerun plugin does."""
        if nodeid in self._kept:
            return
        earlier = self._entries.pop(nodeid, None)
        if payload:
            attempt = Entry(nodeid, "failed", payload["cell"], reason, payload={**payload})
            self._set_aside.append(attempt)
            if has_regressed(payload):
                attempt.duration_s = earlier.duration_s if earlier else 0.0
                self._entries[nodeid] = attempt
                self._kept[nodeid] = set()

    def turned_green(self) -> list[Entry]:
        """The failed attempts of our items that passed, or were skipped, when run again."""
        last = {entry.nodeid: {entry.outcome} for entry in self.ours} | self._kept
        return [e for e in self._set_aside if "failed" not in last.get(e.nodeid, {"failed"})]

    @property
    def ours(self) -> list[Entry]:
        """The items that belong to a cell, in the order they ran."""
        return [entry for entry in self._entries.values() if entry.cell is not None]

    def by_cell(self) -> dict[str, list[Entry]]:
        """The items of each cell that has any, by its id."""
        found: dict[str, list[Entry]] = {}
        for entry in self.ours:
            found.setdefault(str(entry.cell), []).append(entry)
        return found

    def additions(self) -> Iterator[tuple[Entry, Payload]]:
        """Every session to record, one a cell: of tests that passed, if none of the cell failed.

        What several tests of a cell measured stands in one session.
        """
        failed = {e.cell for e in self.ours if e.outcome == "failed"}
        by_cell: dict[str | None, tuple[Entry, Payload]] = {}
        for e in self.ours:
            if e.payload.get("addition") and e.outcome == "passed" and e.cell not in failed:
                _, earlier = by_cell.get(e.cell, (e, {}))
                by_cell[e.cell] = (e, {**earlier, **e.payload["addition"]})
        yield from by_cell.values()

    def is_all_silent(self) -> bool:
        """Whether everything that ran was ours and none of it reached a verdict."""
        entries = list(self._entries.values())
        return bool(entries) and all(
            entry.cell is not None and not entry.reached_verdict for entry in entries
        )

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())


def has_regressed(payload: Mapping[str, Any]) -> bool:
    """Whether a test's payload holds the verdict *regressed*."""
    return any(judged["verdict"] == "regressed" for judged in payload.get("judgements", ()))


def count_by_code(entries: Iterable[Entry]) -> dict[str, int]:
    """Count the codes of verdicts that were not reached, for the last line."""
    counts: dict[str, int] = {}
    for entry in entries:
        for judgement in entry.payload.get("judgements", ()):
            if judgement["verdict"] in ("inconclusive", "missing"):
                label = f"{judgement['verdict']} {judgement['code']}"
                counts[label] = counts.get(label, 0) + 1
    return counts
