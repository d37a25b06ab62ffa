"""Reads a machine's description: takes a root folder and a path in it, gives text; never fails.

The root is `/`, or a recorded tree of another machine. It knows nothing of what the files mean.
"""

from __future__ import annotations

import re
from pathlib import Path

UNKNOWN = "unknown"

_MOST_BYTES = 1 << 20


def read(root: Path, path: str) -> str:
    """Return a file's text without NULs at its ends; empty when it cannot be read."""
    try:
        with (root / path.lstrip("/")).open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace").strip("\0 \n\t")
    except (OSError, ValueError):
        return ""


def slug(text: str) -> str:
    """Return text as a part of a hardware id, `[a-z0-9-]+`; "unknown" if nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or UNKNOWN
