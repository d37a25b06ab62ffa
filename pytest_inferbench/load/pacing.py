"""Waiting until a moment, to the tenth of a millisecond: for an open loop under gevent.

gevent's own timers are rounded up to whole milliseconds, which an open loop would report as
latency. A timer of the kernel, watched as a file, is not; where there is none they must do.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

_MONOTONIC = 1
_ABSOLUTE = 1
_CLOEXEC_NONBLOCK = 0o2004000


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Pacer:
    """Lets one greenlet at a time wait until a moment of `time.monotonic_ns`."""

    def __init__(self) -> None:
        self._timer = -1
        self._watcher: Any = None
        libc = ctypes.CDLL(None, use_errno=True)
        self._set = getattr(libc, "timerfd_settime", None)
        if self._set is None:
            return
        import gevent

        self._hub = gevent.get_hub()
        self._timer = libc.timerfd_create(_MONOTONIC, _CLOEXEC_NONBLOCK)
        if self._timer >= 0:
            self._watcher = self._hub.loop.io(self._timer, 1)

    def until(self, moment_ns: int) -> None:
        """Wait; a moment that is past is no wait."""
        if self._watcher is None:
            self._coarsely(moment_ns)
            return
        if moment_ns <= time.monotonic_ns():
            return
        spec = _Spec(0, 0, *divmod(moment_ns, 10**9))
        if self._set is None or self._set(self._timer, _ABSOLUTE, ctypes.byref(spec), None):
            self._coarsely(moment_ns)
            return
        self._hub.wait(self._watcher)
        os.read(self._timer, 8)

    def close(self) -> None:
        """Give the timer back."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
            os.close(self._timer)

    def _coarsely(self, moment_ns: int) -> None:
        import gevent

        while (left_ns := moment_ns - time.monotonic_ns()) > 0:
            gevent.sleep(left_ns / 1e9)
