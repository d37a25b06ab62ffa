"""The baseline files that a merge left in conflict: takes a folder, gives each side's file.

Reads git's index, which keeps both sides whole; the marks in the working tree are not looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_inferbench.baselines.combine import combine
from pytest_inferbench.baselines.revision import ask_git, nearest, toplevel
from pytest_inferbench.baselines.schema import BaselineFile
from pytest_inferbench.baselines.store import parse
from pytest_inferbench.onnx_cases import MODEL as CASES

_SIDES = {"1": "base", "2": "ours", "3": "theirs"}


@dataclass(frozen=True)
class Conflict:
    """One file in conflict.

    Attributes:
        path: Where it is in the working tree.
        sides: "base", "ours" and "theirs" -> its text there; a side that has none is left out.
    """

    hardware: str
    model: str
    path: Path
    sides: dict[str, bytes]

    @property
    def is_of_cases(self) -> bool:
        """Whether it is a record of ONNX's own cases, which holds no sessions."""
        return self.model == CASES

    def combined(self) -> BaselineFile:
        """Return the file with the sessions of both sides.

        Raises:
            InferbenchError: A side cannot be trusted (IB-711, IB-712).
        """
        sides = [
            parse(Path(f"{self.path} ({side})"), self.sides[side], self.hardware, self.model)
            if side in self.sides
            else BaselineFile(hardware=self.hardware, model=self.model)
            for side in _SIDES.values()
        ]
        return combine(*sides)


def conflicts(folder: Path) -> list[Conflict]:
    """Return the baseline files of a folder that are in conflict.

    Raises:
        InferbenchError: There is no git (IB-720) or no repository (IB-721).
    """
    folder = folder.resolve()
    here = nearest(folder)
    top = toplevel(here)
    listed = ask_git(top, "ls-files", "--unmerged", "-z", "--", str(folder)).stdout
    sides: dict[str, dict[str, bytes]] = {}
    for line in filter(None, os.fsdecode(listed).split("\0")):
        facts, _, name = line.partition("\t")
        _, blob, stage = facts.split()
        text = ask_git(top, "cat-file", "--filters", f"--path={name}", blob).stdout
        sides.setdefault(name, {})[_SIDES[stage]] = text
    found = []
    for name, texts in sorted(sides.items()):
        path = top / name
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if len(inside.parts) == 2 and inside.suffix == ".json":
            found.append(Conflict(inside.parts[0], inside.stem, path, texts))
    return found
