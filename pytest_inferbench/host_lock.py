"""The lock on this host: takes a folder, gives shared and exclusive holds; knows not what for.

Timing holds the host exclusively, everything else shares it. The kernel's `flock` keeps the holds,
so they end with their process, however it ends, and need no permission but reading: several users
can share one folder. (filelock's `ReadWriteLock` rests on an SQLite file that it creates readable
by its first user only, and costs twenty times as much.)
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.lockfile import open_lock, try_lock

OnWait = Callable[[float], None]

_POLL_S = 0.01
_FIRST_WORD_S = 2.0
_NEXT_WORD_S = 10.0


class HostLock:
    """This process's hold on the host; make one a process and folder, and use it from one thread.

    Whoever wants a hold first passes a turnstile. A shared holder leaves it at once, an exclusive
    one stays in it from the start of its wait until its end, so newcomers wait behind it and no
    stream of shared holders can starve it.

    Holds nest. An exclusive hold inside a shared one gives the shared one up while it waits, and
    gets it back without a gap: what was seen before under the shared hold may have changed. When
    the wait itself is interrupted, the shared hold stays given up, so that nothing waits on the
    way out.

    To have several users exclude one another, give them one folder that all of them may read and
    whoever comes first may write to, such as one with the mode 1777.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shared_depth = 0
        self._exclusive_depth = 0
        self._host_fd = -1

    @contextmanager
    def shared(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Hold the host beside other shared holders.

        Args:
            on_wait: Called with the seconds waited so far, after 2 s, then at every tenth.

        Raises:
            InferbenchError: IB-690 if the folder cannot be used.
        """
        if self._shared_depth or self._exclusive_depth:
            self._shared_depth += 1
            try:
                yield
            finally:
                self._shared_depth -= 1
            return
        wait = _Wait(on_wait)
        with self._opened("host") as host_fd:
            with self._opened("turnstile") as turnstile_fd:
                wait.lock(turnstile_fd, fcntl.LOCK_EX)
                wait.lock(host_fd, fcntl.LOCK_SH)
            self._host_fd, self._shared_depth = host_fd, 1
            try:
                yield
            finally:
                self._shared_depth = 0

    @contextmanager
    def exclusive(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Hold the host alone.

        Args:
            on_wait: Called with the seconds waited so far, after 2 s, then at every tenth.

        Raises:
            InferbenchError: IB-690 if the folder cannot be used.
        """
        if self._exclusive_depth:
            self._exclusive_depth += 1
            try:
                yield
            finally:
                self._exclusive_depth -= 1
            return
        wait = _Wait(on_wait)
        with self._host() as host_fd, self._opened("turnstile") as turnstile_fd:
            # Given up before the queue: whoever is in the turnstile waits for this very hold.
            fcntl.flock(host_fd, fcntl.LOCK_UN)
            wait.lock(turnstile_fd, fcntl.LOCK_EX)
            wait.lock(host_fd, fcntl.LOCK_EX)
            self._exclusive_depth = 1
            try:
                yield
            finally:
                self._exclusive_depth = 0
                if self._shared_depth:
                    # Never waits: nobody else passes the turnstile before this one leaves it.
                    fcntl.flock(host_fd, fcntl.LOCK_SH)

    @contextmanager
    def _host(self) -> Iterator[int]:
        """The descriptor of the shared hold around, or a new one."""
        if self._shared_depth:
            yield self._host_fd
        else:
            with self._opened("host") as host_fd:
                yield host_fd

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """A descriptor of a lock file; closing it ends its hold."""
        path = self.folder / f"{name}.lock"
        try:
            fd = open_lock(path)
        except OSError as error:
            raise InferbenchError(
                "IB-690",
                f"the host's lock {path} cannot be used: {error.strerror}",
                "Set `lock` in the settings to a folder that every user of this host can read"
                " and write.",
            ) from error
        try:
            yield fd
        finally:
            os.close(fd)


class _Wait:
    """One wait, possibly for several locks, that says now and then that it goes on."""

    def __init__(self, on_wait: OnWait | None) -> None:
        self._on_wait = on_wait
        self._started = time.monotonic()
        self._next_word_s = _FIRST_WORD_S

    def lock(self, fd: int, kind: int) -> None:
        """Take a lock, polling."""
        while not try_lock(fd, kind):
            self._say()
            time.sleep(_POLL_S)

    def _say(self) -> None:
        waited_s = time.monotonic() - self._started
        if waited_s >= self._next_word_s:
            self._next_word_s = (waited_s // _NEXT_WORD_S + 1) * _NEXT_WORD_S
            if self._on_wait is not None:
                self._on_wait(waited_s)
