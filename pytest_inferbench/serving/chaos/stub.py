"""Kills the process that runs a model in Python, under load: is it noticed, and mended?"""

from __future__ import annotations

import os
import signal
import time

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.serving.chaos.seen import (
    Seen,
    improper,
    recovery,
    statuses,
    wrong_answers,
)
from pytest_inferbench.serving.chaos.stage import Staging, staged
from pytest_inferbench.serving.chaos.traffic import Traffic

_CALLERS = 4
_WARM = 8
_PATIENCE_S = 20.0
_NOTICED_S = 5.0
_PROPER = frozenset({400, 404, 500, 503})
"""500 while the stub is dead; while the model is unloaded, what the server says of one."""

STAYS_READY = (
    "the server says that it is ready while the process that runs the model is dead, and starts no"
    " other: only its processes show it"
)


def stub_killed(staging: Staging) -> Seen:
    """Kill one of the model's stubs while callers ask; notice it, and mend it."""
    with staged(staging) as stage:
        stubs = sorted(stage.process.stubs())
        if not stubs:
            raise NotAsked("the model runs inside the server itself: it has no process to kill")
        faults, known = [], []
        with Traffic(stage.asker(), _CALLERS) as traffic:
            traffic.wait_for_right(_WARM, _PATIENCE_S)
            happened_s = time.monotonic()
            os.kill(stubs[0], signal.SIGKILL)
            if not traffic.wait_until(lambda: stage.server.dead_stubs() > 0, _NOTICED_S):
                faults.append(f"a killed stub was not noticed within {_NOTICED_S:g} s")
            noticed_s = time.monotonic() - happened_s
            traffic.wait_until(lambda: recovery(traffic.replies, happened_s).affected > 0, 3.0)
            if stage.server.control.is_ready():
                known.append(STAYS_READY)
            mending_s = time.monotonic()
            if not stage.server.mend():
                faults.append("a dead stub was not mended")
            mended_s = time.monotonic() - mending_s
            if not traffic.wait_for_right(_WARM, _PATIENCE_S):
                faults.append(f"no right answers came within {_PATIENCE_S:g} s after mending")
        replies = traffic.replies
    went = recovery(replies, happened_s)
    return Seen(
        (*faults, *wrong_answers(replies), *improper(replies, _PROPER)),
        tuple(known),
        {
            "noticed_s": noticed_s,
            "mended_s": mended_s,
            "recovered_s": went.recovered_s if went.recovered_s is not None else float("nan"),
            "slowest_s": went.slowest_s,
            "requests": float(len(replies)),
            "failed": float(went.affected),
            **statuses(replies),
        },
    )
