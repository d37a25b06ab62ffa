"""Callers who go on calling while something happens: takes an asker, gives every reply in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from pytest_inferbench.serving.chaos.asking import Asker
from pytest_inferbench.serving.chaos.seen import Reply

_AFTER_A_REFUSAL_S = 0.02
"""A caller who is refused waits so long: a dead server must not be asked a thousand times."""


class Traffic:
    """Some callers, each with a connection of its own, while it is entered.

    Args:
        asker: What is asked for; caller n begins with example n, so that no two ask for the same.
        callers: How many there are.
    """

    def __init__(self, asker: Asker, callers: int) -> None:
        self._asker, self._callers = asker, callers
        self._replies: list[Reply] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Traffic:
        for number in range(self._callers):
            thread = threading.Thread(target=self._call, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(self._asker.timeout_s + 1)

    @property
    def replies(self) -> Sequence[Reply]:
        """Every reply so far."""
        return list(self._replies)

    def right_since(self, moment_s: float) -> int:
        """Return how many right answers were asked for after a moment."""
        return sum(reply.is_right and reply.started_s >= moment_s for reply in self.replies)

    def wait_until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Wait until something holds; return whether it did in time."""
        deadline_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.02)
        return True

    def wait_for_right(self, count: int, within_s: float) -> bool:
        """Wait for so many right answers to requests that are sent from now on."""
        now_s = time.monotonic()
        return self.wait_until(lambda: self.right_since(now_s) >= count, within_s)

    def _call(self, number: int) -> None:
        with self._asker.another() as asker:
            while not self._ended.is_set():
                reply = asker.ask(number)
                self._replies.append(reply)
                number += 1
                if reply.status != 200:
                    self._ended.wait(_AFTER_A_REFUSAL_S)
