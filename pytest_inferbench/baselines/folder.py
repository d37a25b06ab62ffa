"""Every baseline file of a folder, or of a revision: takes texts, gives what can be trusted.

What cannot be trusted is kept beside as its error, so that one damaged file hides no other. Knows
neither budgets nor git.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_inferbench.baselines.schema import BaselineFile
from pytest_inferbench.baselines.store import parse, read_file
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.onnx_cases import MODEL as CASES
from pytest_inferbench.onnx_cases import baseline as cases
from pytest_inferbench.onnx_cases.baseline import CaseBaseline

Key = tuple[str, str]
"""Hardware and model."""


@dataclass(frozen=True)
class Entry:
    """One baseline file, read or not.

    Attributes:
        path: Where it is, for messages.
        text: What it holds, or why that cannot be read.
    """

    hardware: str
    model: str
    path: Path
    text: bytes | InferbenchError


@dataclass(frozen=True)
class Contents:
    """What a set of baseline files holds.

    Attributes:
        files: By hardware and model.
        cases: The records of ONNX's own cases, by hardware.
        faults: What is wrong with the files that cannot be trusted.
        texts: The text that each trusted file was read from.
    """

    files: dict[Key, BaselineFile] = field(default_factory=dict)
    cases: dict[str, CaseBaseline] = field(default_factory=dict)
    faults: dict[Key, InferbenchError] = field(default_factory=dict)
    texts: dict[Key, bytes] = field(default_factory=dict)

    def cells(self) -> Iterator[tuple[Key, list[str]]]:
        """Give each trusted file's key with the names of its cells."""
        for key, file in self.files.items():
            yield key, list(file.cells)
        for hardware, record in self.cases.items():
            yield (hardware, CASES), list(record.cells)

    def without(self, keys: Iterable[Key]) -> Contents:
        """Return the same but for some files."""
        left_out = set(keys)
        return Contents(
            {key: file for key, file in self.files.items() if key not in left_out},
            {name: file for name, file in self.cases.items() if (name, CASES) not in left_out},
            {key: error for key, error in self.faults.items() if key not in left_out},
            {key: text for key, text in self.texts.items() if key not in left_out},
        )


def contents(entries: Iterable[Entry]) -> Contents:
    """Check every file."""
    found = Contents()
    for entry in entries:
        key = (entry.hardware, entry.model)
        try:
            if isinstance(entry.text, InferbenchError):
                raise entry.text
            if entry.model == CASES:
                found.cases[entry.hardware] = cases.parse(entry.path, entry.text, entry.hardware)
            else:
                found.files[key] = parse(entry.path, entry.text, *key)
            found.texts[key] = entry.text
        except InferbenchError as error:
            found.faults[key] = error
    return found


def entries_in(folder: Path) -> list[Entry]:
    """Return the baseline files of a folder: `<hardware>/<model>.json`; none if there is none.

    Raises:
        InferbenchError: A folder cannot be read (IB-711): nobody could say what is in it.
    """
    found = []
    for path in (file for each in _inside(folder) if each.is_dir() for file in _inside(each)):
        if path.suffix != ".json":
            continue
        try:
            text = read_file(path)
        except InferbenchError as error:
            found.append(Entry(path.parent.name, path.stem, path, error))
            continue
        if text is not None:
            found.append(Entry(path.parent.name, path.stem, path, text))
    return found


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, in order, but for what is hidden: a cut write leaves such a file."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InferbenchError("IB-711", f"{folder} cannot be read: {error}") from error
