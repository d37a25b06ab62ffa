"""A thousand connections at once: is each of them answered, and rightly?"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from pytest_inferbench.conformance.contract import NotHere
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
    with _files(CONNECTIONS + _SPARE), staged(staging) as stage, ExitStack() as open_ones:
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


@contextmanager
def _files(count: int) -> Iterator[None]:
    """Let this process, and the server that it starts, have so many open files meanwhile.

    Raises:
        NotHere: The machine's limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise NotHere(f"a process may have {hard} open files here, and {count} are needed")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
