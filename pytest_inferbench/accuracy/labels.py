"""What the right answer is for each sample: from a JSON or CSV file, or from folders by class.

Takes paths and the samples' names; gives labels in the samples' order. Knows neither models nor
what a label means.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from pytest_inferbench.errors import InferbenchError

Label = int | str


def load_labels(path: Path) -> dict[str, Label]:
    """Read labels by sample.

    A JSON file is one object: ``{"cats/1.jpg": 3}``. A CSV file has two columns, the sample and its
    label, and a header. Labels are class numbers, or text for transcripts.

    Raises:
        InferbenchError: IB-580 if it cannot be read, is neither, is empty, or names a sample twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InferbenchError("IB-580", f"the labels {path} cannot be read: {error}") from error
    labels = _from_csv(text, path) if path.suffix.lower() == ".csv" else _from_json(text, path)
    if not labels:
        raise InferbenchError("IB-580", f"the labels {path} hold no label")
    return labels


def labels_of(names: Sequence[str], labels: Mapping[str, Label], source: str) -> list[Label]:
    """Return the labels of samples, which are named by path, by file name or by its stem.

    Raises:
        InferbenchError: IB-581 if a sample has none.
    """
    found, missing = [], []
    for name in names:
        path = PurePosixPath(name)
        key = next((key for key in (name, path.name, path.stem) if key in labels), None)
        if key is None:
            missing.append(name)
        else:
            found.append(labels[key])
    if missing:
        raise InferbenchError(
            "IB-581",
            f"{source} has no label for {len(missing)} of {len(names)} samples, the first is"
            f" {missing[0]}",
            f"It names samples such as {next(iter(labels))!r}; paths belong to the data's folder.",
        )
    return found


def labels_of_folders(names: Sequence[str]) -> list[int] | None:
    """Return the class of each sample by the folder that it lies in; None if they say none.

    Folders that are numbers are these classes; else they are numbered in sorted order, so that
    every class must have one.
    """
    folders = [PurePosixPath(name).parts[0] if "/" in name else None for name in names]
    kinds = sorted({folder for folder in folders if folder is not None})
    if len(kinds) < 2 or None in folders:
        return None
    if all(kind.isdecimal() for kind in kinds):
        return [int(folder or 0) for folder in folders]
    return [kinds.index(folder or "") for folder in folders]


def _from_json(text: str, path: Path) -> dict[str, Label]:
    try:
        return msgspec.json.decode(text, type=dict[str, int | str])
    except msgspec.DecodeError as error:
        raise InferbenchError(
            "IB-580",
            f"{path} is no JSON object of labels by sample: {error}",
            'Write {"cats/1.jpg": 3, ...}, or a CSV file with the columns file and label.',
        ) from error


def _from_csv(text: str, path: Path) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise InferbenchError(
                "IB-580",
                f"row {number} of {path} has {len(row)} columns, not a sample and its label",
                "The first row is a header; a label with a comma stands in quotes.",
            )
        name, label = row[0].strip(), row[1].strip()
        if name in labels:
            raise InferbenchError("IB-580", f"{path} has two labels for {name}")
        labels[name] = int(label) if label.isdecimal() else label
    return labels
