"""Both sides of a merge put together: takes three states of a file, gives one. Pure.

Git merges lines, and two sessions have so many lines in common that it weaves them into each other.
Sessions are what is merged here: what either side added is there, what either side removed is not.
"""

from __future__ import annotations

import msgspec

from pytest_inferbench.baselines.schema import (
    MAX_ACCEPTANCES,
    MAX_SESSIONS,
    BaselineFile,
    CellSessions,
    Session,
    newest,
)


def combine(base: BaselineFile, ours: BaselineFile, theirs: BaselineFile) -> BaselineFile:
    """Return the merge of two files; it is the same whichever side is called ours.

    Args:
        base: What both came from; without cells where there was none.
        ours: The one side.
        theirs: The other.
    """
    cells = {}
    for name in sorted(ours.cells.keys() | theirs.cells.keys()):
        before, one, other = (_by_text(file, name) for file in (base, ours, theirs))
        gone = {text for text in before if text not in one or text not in other}
        kept = [session for text, session in {**one, **other}.items() if text not in gone]
        if kept:
            accepted = [
                each
                for file in (base, ours, theirs)
                if name in file.cells
                for each in file.cells[name].accepted
            ]
            cells[name] = CellSessions(
                sessions=newest(kept, MAX_SESSIONS), accepted=newest(accepted, MAX_ACCEPTANCES)
            )
    return msgspec.structs.replace(ours, cells=cells)


def _by_text(file: BaselineFile, cell: str) -> dict[bytes, Session]:
    return {msgspec.json.encode(each, order="sorted"): each for each in file.sessions(cell)}
