"""Finds the settings file: takes a folder, gives a path or None; reads no more than it must.

Every pytest run pays for this, so it imports no TOML parser unless `pyproject.toml` mentions us.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILE_NAME = "inferbench.toml"
PYPROJECT = "pyproject.toml"


def find(start: Path) -> Path | None:
    """Return the settings file of a folder, or `start` itself if it is a file.

    `inferbench.toml` goes before `[tool.inferbench]` of `pyproject.toml`. A `pyproject.toml` that
    cannot be parsed but names our table is returned: `load` then says what is wrong with it.
    """
    if start.is_file():
        return start
    own = start / FILE_NAME
    if own.is_file():
        return own
    pyproject = start / PYPROJECT
    try:
        text = pyproject.read_bytes()
    except OSError:
        return None
    if b"inferbench" not in text:
        return None
    try:
        return pyproject if tool_table(parse(text)) is not None else None
    except (ValueError, RecursionError):
        return pyproject if b"[tool.inferbench" in text else None


def parse(text: bytes) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: Not UTF-8, or not TOML.
        RecursionError: Nested too deeply for the parser.
    """
    import importlib
    import sys

    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    data: dict[str, Any] = tomllib.loads(text.decode())
    return data


def tool_table(data: dict[str, Any]) -> Any:
    """Return `[tool.inferbench]` of a parsed `pyproject.toml`, None if there is none."""
    tool = data.get("tool")
    return tool.get("inferbench") if isinstance(tool, dict) else None
