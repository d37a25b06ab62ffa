"""Figures that others have published: takes a TOML or JSON file, gives them, checked.

They are shown beside what was measured, under a title that says so; nothing is judged by them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.find import parse

_HINT = (
    "Write a table [[reference]] each, with model, source and [reference.figures]; see"
    " docs/html-report.md."
)
_WORDS = ("model", "backend", "precision", "hardware", "source")


@dataclass(frozen=True)
class Reference:
    """A row of figures that somebody else has published.

    Attributes:
        source: Where.
        figures: What they say, by name with its unit: shown as it is.
    """

    model: str
    source: str
    backend: str = ""
    precision: str = ""
    hardware: str = ""
    figures: dict[str, str] = field(default_factory=dict)


def read_references(path: Path) -> tuple[Reference, ...]:
    """Read a file of references.

    Raises:
        InferbenchError: It cannot be read, or is not of that form (IB-910).
    """
    try:
        text = path.read_bytes()
        plain: Any = json.loads(text.decode()) if path.suffix == ".json" else parse(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InferbenchError("IB-910", f"{path} could not be read: {error}", _HINT) from error
    rows = plain.get("reference") if isinstance(plain, dict) else None
    if not isinstance(rows, list):
        raise InferbenchError("IB-910", f"{path} has no table [[reference]]", _HINT)
    return tuple(_reference(row, f"{path}, reference {i + 1}") for i, row in enumerate(rows))


def _reference(row: Any, where: str) -> Reference:
    if not isinstance(row, dict):
        raise InferbenchError("IB-910", f"{where} is no table", _HINT)
    unknown = [key for key in row if key not in (*_WORDS, "figures")]
    if unknown:
        raise InferbenchError("IB-910", f"{where}: nothing is called {unknown[0]!r} there", _HINT)
    for key in ("model", "source"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise InferbenchError("IB-910", f"{where} has no {key}", _HINT)
    figures = row.get("figures")
    if not isinstance(figures, dict) or not figures:
        raise InferbenchError("IB-910", f"{where} has no figures", _HINT)
    return Reference(
        **{key: str(row.get(key, "")) for key in _WORDS},
        figures={str(name): str(value) for name, value in figures.items()},
    )
