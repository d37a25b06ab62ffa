"""Names for models: takes paths, gives names that settings accept, each its own. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import PurePath

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_LETTERS = 60


def name_models(paths: Sequence[PurePath], reserved: Collection[str]) -> list[str]:
    """Return a name for each path: its file's, with its folders' before it where two are alike.

    Args:
        paths: Relative to the folder of the settings.
        reserved: Names that mean something else.
    """
    names: list[str] = []
    stems = [_cleaned(path.stem) for path in paths]
    for path, stem in zip(paths, stems, strict=True):
        alike = stem if [each.lower() for each in stems].count(stem.lower()) == 1 else ""
        candidates = [alike] if alike else []
        for depth in range(1, len(path.parts)):
            folders = path.parts[-1 - depth : -1]
            candidates.append("-".join(filter(None, [*map(_cleaned, folders), stem])))
        names.append(_free(candidates or [stem], names, reserved))
    return names


def _free(candidates: Sequence[str], taken: Sequence[str], reserved: Collection[str]) -> str:
    used = {name.lower() for name in (*taken, *reserved)}
    for name in candidates:
        if name and name.lower() not in used:
            return name
    base = candidates[-1] or "model"
    number = 2
    name = base if base.lower() not in used else f"{base}-model"
    while name.lower() in used:
        name, number = f"{base}-{number}", number + 1
    return name


def _cleaned(text: str) -> str:
    """Return what of a text may stand in a name, accents taken off."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _NOT_ALLOWED.sub("-", plain).strip("-.")[:_MOST_LETTERS].strip("-.")
