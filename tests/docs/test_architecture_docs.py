"""docs/architecture.md has a row for every file, and no row for a file that is gone."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_inferbench"
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_every_file_has_a_row_and_every_row_a_file():
    first_cells = re.findall(r"^\| (`[^|]+) \|", TEXT, re.MULTILINE)
    named = [name for cell in first_cells for name in re.findall(r"`([\w/]+\.py)`", cell)]
    assert len(named) == len(set(named)), "a file has one row"
    files = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert set(named) == files
