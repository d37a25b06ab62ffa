"""Says that something takes long: takes elapsed seconds, gives a line now and then.

Pure: the caller has the clock and the place to write to.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_WORD_S = 2.0
NEXT_WORD_S = 10.0


class Progress:
    """One activity: silent for `FIRST_WORD_S`, then a line every `NEXT_WORD_S`.

    Args:
        say: What takes a line.
        what: The activity.
        every: Whether `say` is to have each line after the first, and chooses by itself.
    """

    def __init__(self, say: Callable[[str], None], what: str, *, every: bool = False) -> None:
        self._say, self._what, self._every = say, what, every
        self._next_s = FIRST_WORD_S

    def __call__(self, elapsed_s: float, detail: str = "") -> None:
        """Tell it how long the activity has taken so far."""
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + (0.0 if self._every else NEXT_WORD_S)
            beside = f", {detail}" if detail else ""
            self._say(f"{self._what} ({elapsed_s:.0f} s{beside})")
