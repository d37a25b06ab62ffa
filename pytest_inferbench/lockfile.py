"""Lock files: takes a path, gives a descriptor to `flock`; knows not what is locked.

The kernel keeps the locks, so they end with their process, however it ends. Standard library only:
the worker is shipped this file too.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def open_lock(path: Path) -> int:
    """Open a lock file for reading, made if need be, so that any user may do the same.

    Creating and opening are two steps because in a sticky folder the kernel refuses to open
    another user's file with O_CREAT (`fs.protected_regular`).
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(fd, 0o644)  # whatever the umask
            return fd
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take a lock if it is free; a blocking `flock` could not say that it waits."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
