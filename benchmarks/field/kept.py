"""Figures that are kept between runs of a program: takes a path, gives what is there.

A program that is stopped goes on where it was; what was measured is written at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Kept:
    """Entries by name, in a JSON file.

    Args:
        path: The file.
        facts: What they were measured on. A file of something else is refused.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path = path
        self.facts = dict(facts)
        self.entries: dict[str, Any] = {}
        if path.exists():
            found = json.loads(path.read_text())
            if found["facts"] != self.facts:
                raise SystemExit(f"{path} was measured on {found['facts']}, not {self.facts}")
            self.entries = found["entries"]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def add(self, name: str, entry: Mapping[str, Any]) -> None:
        """Keep an entry; the file is whole at every moment."""
        self.entries[name] = dict(entry)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        new.write_text(json.dumps({"facts": self.facts, "entries": self.entries}, indent=1) + "\n")
        new.replace(self._path)
