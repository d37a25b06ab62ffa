"""Puts a file in another's place: takes a path, gives one beside it to write to. Standard library.

Whatever happens meanwhile, the old file or the new one is there, whole, and nothing else is left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; at the end of the `with` it takes the other's place.

    Raises:
        OSError: It could not be put there; an earlier file is left as it was.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"  # also where it is no file's: "."
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # gone already, or its folder is none
            temporary.unlink()
