"""What lies in a folder that a gate could use: takes a folder, gives paths, nearest first.

Bounded, and follows no link to a folder. Reads nothing but JSON files that may be annotations.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOST_ENTRIES = 50_000
"""Files and folders that are looked at; the rest of a huge tree is said to be left out."""

SKIPPED = frozenset({"__pycache__", "baselines", "node_modules", "site-packages"})
_ROOT_OF_OTHERS = ("pyvenv.cfg", "CACHEDIR.TAG", "conda-meta")
"""A folder that has one of these is an environment or a cache."""

_MOST_JSON_BYTES = 64 * 2**20
_MOST_JSON_TOGETHER_BYTES = 256 * 2**20
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_CALIBRATION = "calib"


@dataclass
class Found:
    """What lies in a folder.

    Attributes:
        onnx: ONNX files.
        annotations: JSON files that have COCO's keys.
        calibration: Folders whose name says so, with images or arrays in or below them.
        arrays: Other folders that hold .npz files.
        entries: How many files and folders were looked at.
        cut_short: Whether there are more than that.
        unreadable: Folders that could not be listed.
    """

    onnx: list[Path] = field(default_factory=list)
    annotations: list[Path] = field(default_factory=list)
    calibration: list[Path] = field(default_factory=list)
    arrays: list[Path] = field(default_factory=list)
    entries: int = 0
    cut_short: bool = False
    unreadable: list[Path] = field(default_factory=list)


def search(folder: Path, most_entries: int = MOST_ENTRIES) -> Found:
    """Return what lies in a folder and below it.

    Hidden folders, environments, caches and recorded baselines are left out.
    """
    found = Found()
    json_bytes = 0
    waiting = deque([folder])
    while waiting:
        here = waiting.popleft()
        entries = _listed(here, found)
        if entries is None or (here != folder and _is_of_others(entries)):
            continue
        if found.entries + len(entries) > most_entries:
            found.cut_short = True
            entries = entries[: max(0, most_entries - found.entries)]
        found.entries += len(entries)
        for entry in entries:
            path = here / entry.name
            suffix = path.suffix.lower()
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    waiting.append(path)
            elif entry.name.startswith(".") or not entry.is_file():
                continue
            elif suffix == ".onnx":
                found.onnx.append(path)
            elif suffix == ".json" and json_bytes < _MOST_JSON_TOGETHER_BYTES:
                json_bytes += entry.stat().st_size
                if _has_coco_keys(path):
                    found.annotations.append(path)
            elif suffix in _samples():
                _note_samples(folder, here, suffix, found)
        if found.cut_short:
            break
    return found


def _listed(here: Path, found: Found) -> list[os.DirEntry[str]] | None:
    try:
        with os.scandir(here) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.unreadable.append(here)
        return None


def _is_of_others(entries: list[os.DirEntry[str]]) -> bool:
    return any(entry.name in _ROOT_OF_OTHERS for entry in entries)


def _samples() -> frozenset[str]:
    from pytest_inferbench.accuracy.images import SUFFIXES

    return SUFFIXES | {".npz"}


def _note_samples(top: Path, here: Path, suffix: str, found: Found) -> None:
    """Note the topmost folder that says it is for calibration, else one that holds arrays."""
    named = [each for each in _upwards(top, here) if each.name.lower().startswith(_CALIBRATION)]
    if named and named[-1] not in found.calibration:
        found.calibration.append(named[-1])
    elif not named and suffix == ".npz" and here not in found.arrays:
        found.arrays.append(here)


def _upwards(top: Path, here: Path) -> Iterator[Path]:
    while here != top:
        yield here
        here = here.parent


def _has_coco_keys(path: Path) -> bool:
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            return False
        text = path.read_bytes()
    except OSError:
        return False
    return all(key in text for key in _COCO_KEYS)
