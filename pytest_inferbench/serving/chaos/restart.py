"""Kills the server, under load: is everything of it gone, and does another take its place?"""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

from pytest_inferbench.serving.chaos.seen import (
    NO_ANSWER,
    Seen,
    improper,
    recovery,
    statuses,
    wrong_answers,
)
from pytest_inferbench.serving.chaos.stage import Staging, staged, wait_until_gone
from pytest_inferbench.serving.chaos.traffic import Traffic

_CALLERS = 4
_WARM = 8
_PATIENCE_S = 20.0
_GONE_S = 5.0
_SHARED_MEMORY = Path("/dev/shm")


def server_killed(staging: Staging) -> Seen:
    """Kill the server with SIGKILL while callers ask, then start another at its addresses."""
    faults = []
    with staged(staging) as stage:
        process = stage.process
        stubs = process.stubs()
        with Traffic(stage.asker(), _CALLERS) as traffic:
            traffic.wait_for_right(_WARM, _PATIENCE_S)
            happened_s = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            gone = wait_until_gone(process, _GONE_S)
            gone_s = time.monotonic() - happened_s
            faults += [] if gone else [f"it was not all gone within {_GONE_S:g} s"]
            faults += left_behind(stubs, process.prefix)
            starting_s = time.monotonic()
            stage.restart()
            started_s = time.monotonic() - starting_s
            if not traffic.wait_for_right(_WARM, _PATIENCE_S):
                faults.append(f"no right answers came within {_PATIENCE_S:g} s after the restart")
        replies = traffic.replies
    went = recovery(replies, happened_s)
    return Seen(
        (*faults, *wrong_answers(replies), *improper(replies, frozenset({NO_ANSWER}))),
        (),
        {
            "gone_s": gone_s,
            "started_s": started_s,
            "recovered_s": math.nan if went.recovered_s is None else went.recovered_s,
            "requests": float(len(replies)),
            "failed": float(went.affected),
            **statuses(replies),
        },
    )


def left_behind(pids: frozenset[int], prefix: str) -> list[str]:
    """Return faults for processes that live on, and for segments of shared memory."""
    alive = [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
    segments = [path.name for path in _SHARED_MEMORY.glob(f"{prefix}*")]
    return [f"its process {pid} lives on" for pid in alive] + [
        f"/dev/shm/{name} is left" for name in segments
    ]
