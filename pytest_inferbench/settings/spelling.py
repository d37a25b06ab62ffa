"""Says what is wrong with a word: takes it and the valid ones, gives a sentence. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable

LATER_TASKS = ("embedding", "classification", "speech", "segmentation")
NOT_YET = "this version does not have it yet"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """Return the valid word closest to `word`, None if none is close; case does not count."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def unknown(word: str, what: str, valid: Collection[str], later: Collection[str] = ()) -> str:
    """Return what to say of a word that is none of `valid`."""
    if word in later:
        return f'{what} "{word}": {NOT_YET}; it has {", ".join(valid)}'
    close = nearest(word, valid)
    advice = f'did you mean "{close}"?' if close else f"valid are: {', '.join(valid)}"
    return f"unknown {what} {json.dumps(word, ensure_ascii=False)}; {advice}"


def dotted(*parts: str) -> str:
    """Return the TOML key of nested parts, quoted where TOML needs it; empty parts are left out."""
    return ".".join(
        part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
        for part in parts
    )
