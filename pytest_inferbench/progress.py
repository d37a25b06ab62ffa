"""Says that something takes long: takes elapsed seconds, gives a line now and then.

Pure: the caller has the clock and the place to write to.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_WORD_S = 2.0
NEXT_WORD_S = 10.0


class Progress:
    """One activity: silent for `FIRST_WORD_S`, then a line every `NEXT_WORD_S`."""

    def __init__(self, say: Callable[[str], None], what: str) -> None:
        self._say, self._what = say, what
        self._next_s = FIRST_WORD_S

    def __call__(self, elapsed_s: float, detail: str = "") -> None:
        """Tell it how long the activity has taken so far."""
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + NEXT_WORD_S
            beside = f", {detail}" if detail else ""
            self._say(f"{self._what} ({elapsed_s:.0f} s{beside})")
