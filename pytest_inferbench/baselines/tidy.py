"""Carries a pruning out: takes what a folder holds, gives a plan, and then the smaller files.

Every file is replaced atomically, and only if it still is what the plan was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_inferbench.baselines.folder import Contents, Key
from pytest_inferbench.baselines.prune import Removal, prune, prune_cases
from pytest_inferbench.baselines.schema import BaselineFile
from pytest_inferbench.baselines.store import BaselineStore, read_file, remove_file
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.onnx_cases import MODEL as CASES
from pytest_inferbench.onnx_cases import baseline as cases
from pytest_inferbench.onnx_cases.baseline import CaseBaseline


@dataclass(frozen=True)
class Planned:
    """What goes of one file.

    Attributes:
        folder: The folder of all baselines.
        text: What the file held when the plan was made.
        left: What stays of it.
    """

    folder: Path
    path: Path
    text: bytes
    left: BaselineFile | CaseBaseline
    removals: tuple[Removal, ...]


def plan(
    folder: Path, held: Contents, keep: int | None, unused: Mapping[Key, Mapping[str, str]]
) -> list[Planned]:
    """Return what goes, file by file; files of which nothing goes are left out.

    Args:
        folder: The folder of all baselines.
        held: What it holds; files that cannot be trusted are not planned for.
        keep: Sessions of each cell that stay; None keeps all.
        unused: Hardware and model -> cells that go altogether -> why.
    """
    found = []
    for key, file in sorted(held.files.items()):
        left, removals = prune(file, keep, unused.get(key, {}))
        path = BaselineStore(folder).path(*key)
        found.append(Planned(folder, path, held.texts[key], left, removals))
    for hardware, record in sorted(held.cases.items()):
        key = (hardware, CASES)
        rest, removals = prune_cases(record, unused.get(key, {}))
        path = cases.path_of(folder, hardware)
        found.append(Planned(folder, path, held.texts[key], rest, removals))
    return [each for each in found if each.removals]


def carry_out(planned: Iterable[Planned]) -> None:
    """Replace the files by what stays of them; those of which nothing stays are removed.

    Raises:
        InferbenchError: A file changed meanwhile (IB-724), or cannot be written (IB-713): it is
            untouched, and so are those after it.
    """
    for each in planned:
        if read_file(each.path) != each.text:
            raise InferbenchError(
                "IB-724",
                f"{each.path} changed while it was to be pruned; it was left as it is",
                "Let the session that records finish, then run the command again.",
            )
        if not each.left.cells:
            remove_file(each.path)
        elif isinstance(each.left, BaselineFile):
            BaselineStore(each.folder).write(each.left)
        else:
            cases.write(each.folder, each.left)
