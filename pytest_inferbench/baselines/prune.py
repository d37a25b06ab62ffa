"""What of a baseline file can go: takes a file, gives what stays and what is removed. Pure.

Nothing is lost that should be kept: of a cell that is in use at least one session stays, the newest
ones do, and what was accepted stays with them, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from pytest_inferbench.baselines.schema import BaselineFile, CellSessions
from pytest_inferbench.onnx_cases.baseline import CaseBaseline


@dataclass(frozen=True)
class Removal:
    """What goes of one cell.

    Attributes:
        sessions: How many sessions.
        left: How many stay; none when the cell itself goes.
        why: In words.
        what: What one of them is called.
    """

    cell: str
    sessions: int
    left: int
    why: str
    what: str = "session"


def prune(
    file: BaselineFile, keep: int | None, unused: Mapping[str, str]
) -> tuple[BaselineFile, tuple[Removal, ...]]:
    """Return the file without what can go, and what that is, by cell.

    Args:
        file: What is recorded.
        keep: Sessions of each cell that stay, the newest; None keeps all.
        unused: Cells that go altogether -> why.
    """
    if keep is not None and keep < 1:
        raise ValueError(f"at least one session of a cell stays, not {keep}")
    cells: dict[str, CellSessions] = {}
    removals = []
    for name, cell in file.cells.items():
        count = len(cell.sessions)
        if name in unused:
            removals.append(Removal(name, count, 0, unused[name]))
        elif keep is not None and count > keep:
            newest = file.sessions(name)[-keep:]
            cells[name] = msgspec.structs.replace(cell, sessions=newest)
            removals.append(Removal(name, count - keep, keep, f"older than the newest {keep}"))
        else:
            cells[name] = cell
    return msgspec.structs.replace(file, cells=cells), tuple(removals)


def prune_cases(
    file: CaseBaseline, unused: Mapping[str, str]
) -> tuple[CaseBaseline, tuple[Removal, ...]]:
    """Return a record of ONNX's cases without its unused cells, and what these are.

    Of cells in use every version stays: versions are compared with each other.
    """
    removals = tuple(
        Removal(name, len(versions), 0, unused[name], "version")
        for name, versions in file.cells.items()
        if name in unused
    )
    cells = {name: versions for name, versions in file.cells.items() if name not in unused}
    return msgspec.structs.replace(file, cells=cells), removals
