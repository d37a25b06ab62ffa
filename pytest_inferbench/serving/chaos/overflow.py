"""Asks for more than a bounded queue holds: are the others refused properly, and the rest right?"""

from __future__ import annotations

import dataclasses
import math
import statistics

from pytest_inferbench.serving.chaos.seen import Reply, Seen, improper, statuses, wrong_answers
from pytest_inferbench.serving.chaos.stage import Staging, staged
from pytest_inferbench.serving.chaos.traffic import Traffic

_CALLERS = 32
_QUEUE = 2
_REFUSALS = 50
_PATIENCE_S = 20.0
_PROPER = frozenset({429, 503})


def queue_overflow(staging: Staging) -> Seen:
    """Have 32 callers on one instance whose queue holds two requests, until 50 are refused."""
    if staging.is_owned:
        variant = dataclasses.replace(
            staging.variant, batching=True, instances=1, max_queue_size=_QUEUE, queue_delay_us=0
        )
        staging = dataclasses.replace(staging, variant=variant)
    with staged(staging) as stage:
        _ = stage.process  # somebody else's queue is not filled
        with Traffic(stage.asker(), _CALLERS) as traffic:
            traffic.wait_until(
                lambda: sum(r.status != 200 for r in traffic.replies) >= _REFUSALS, _PATIENCE_S
            )
        replies = traffic.replies
        with stage.asker() as asker:
            after = [asker.ask(number) for number in range(len(stage.examples))]
    right = [reply for reply in replies if reply.is_right]
    refused = [reply for reply in replies if reply.status != 200]
    faults = [*wrong_answers(replies), *improper(replies, _PROPER)]
    if not right:
        faults.append("nobody got an answer while the queue was full")
    if not refused:
        faults.append(
            f"{_CALLERS} callers at once, and none was refused: the queue's size of {_QUEUE} does"
            " not hold"
        )
    faults += [f"when it was over, {r.wrong or r.said}" for r in after if not r.is_right]
    return Seen(
        tuple(faults),
        (),
        {
            "requests": float(len(replies)),
            "refused": float(len(refused)),
            "refusal_ms": _median_ms(refused),
            "answer_ms": _median_ms(right),
            **statuses(replies),
        },
    )


def _median_ms(replies: list[Reply]) -> float:
    waits = [1e3 * (reply.ended_s - reply.started_s) for reply in replies]
    return statistics.median(waits) if waits else math.nan
