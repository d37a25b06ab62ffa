"""Where the top-level folders are: takes a folder's name, gives its path.

Knows the three layouts (a wheel carries them inside the package, an editable install and the
checkout have them beside it) so that nobody else needs to.
"""

from __future__ import annotations

from pathlib import Path


def packaged_folder(name: str) -> Path:
    """Return the folder `suites`, `fixtures`, `locustfiles` or `docs` of this installation."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
