"""A thousand connections at once: is each of them answered, and rightly?"""

from __future__ import annotations

import math
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.serving.chaos.seen import Seen, improper, statuses, wrong_answers
from pytest_inferbench.serving.chaos.stage import Staging, staged

CONNECTIONS = 1000
_AT_ONCE = 32
_SPARE = 300
_PATIENCE_S = 60.0
_ASKING_S = 30.0


def crowd(staging: Staging) -> Seen:
    """Open 1,000 connections, keep all of them, and ask on as many as there is time for.

    That is each of them, unless the model is slow; then they are spread evenly.
    """
    _allow_files(CONNECTIONS + _SPARE)
    with staged(staging) as stage, ExitStack() as open_ones:
        first = stage.asker(_PATIENCE_S)
        askers = [open_ones.enter_context(first.another()) for _ in range(CONNECTIONS)]
        started_s = time.monotonic()
        refused = [said for asker in askers if (said := asker.connect())]
        connected_s = time.monotonic() - started_s
        asked = askers[:: math.ceil(CONNECTIONS * stage.calm_s / _ASKING_S)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            replies = list(pool.map(lambda pair: pair[1].ask(pair[0]), enumerate(asked)))
        answered_s = time.monotonic() - started_s - connected_s
        alive = not stage.has_ended
    faults = [f"{len(refused)} connections were refused: {refused[0]}"] if refused else []
    faults += [] if alive else ["the server is gone"]
    return Seen(
        (*faults, *wrong_answers(replies), *improper(replies, frozenset())),
        (),
        {
            "connections": float(CONNECTIONS - len(refused)),
            "asked": float(len(asked)),
            "connected_s": connected_s,
            "answered_s": answered_s,
            **statuses(replies),
        },
    )


def _allow_files(count: int) -> None:
    """Let this process, and the server that it starts, have so many open files.

    Raises:
        NotAsked: The machine's limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise NotAsked(f"a process may have {hard} open files here, and {count} are needed")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
