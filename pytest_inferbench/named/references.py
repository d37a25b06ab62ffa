"""Names of models as a settings file writes them: `inferbench:resnet18-small`, `zoo:minilm-int8`.

Takes text, gives its parts. Pure: whether there is such a model is for the catalog.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

BUILT, ZOO = "inferbench", "zoo"
SCHEMES = (BUILT, ZOO)
SIZES = ("small", "real")


class Reference(NamedTuple):
    """A named model: where it comes from, and its name there, size included."""

    scheme: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


def parse_reference(path: str | Path) -> Reference | None:
    """Return the reference that a `path` is; None for what is a file."""
    scheme, colon, name = str(path).partition(":")
    return Reference(scheme, name) if colon and scheme in SCHEMES else None


def split_size(name: str) -> tuple[str, str]:
    """Return an architecture's name and its size, which is empty where none is named."""
    base, _, size = name.rpartition("-")
    return (base, size) if size in SIZES else (name, "")
