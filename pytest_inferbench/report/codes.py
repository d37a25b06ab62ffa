"""What the codes of judgements mean, in the words of docs/verdicts.md: code -> sentence.

Only those that a verdict of a cell may carry are there; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "html" / "assets" / "codes.json"


@cache
def meanings() -> Mapping[str, str]:
    """Return code -> what it means."""
    found: dict[str, str] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found
