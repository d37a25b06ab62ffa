"""Locust, ended with the process that started it: `python -m pytest_inferbench.load.watched ...`.

The parent holds the other end of standard input and never writes to it; when it is gone, however it
went, a process of two system calls sees the end of file and kills the group.
"""

from __future__ import annotations

import os
import signal
import sys


def watch() -> None:
    """Leave a process behind that kills this one's group at the end of standard input."""
    group = os.getpgrp()
    if group != os.getpid():
        return  # started by hand, in a group that is not ours to kill
    if os.fork():
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)  # Locust listens for keys
        os.close(null)
        return
    try:
        for fd in (1, 2):
            os.close(fd)
        while os.read(0, 1):
            pass
        os.killpg(group, signal.SIGKILL)
    finally:
        os._exit(0)


def main() -> None:
    """Run Locust's own command."""
    watch()
    from locust.main import main as locust

    sys.argv[0] = "locust"
    locust()


if __name__ == "__main__":
    main()
