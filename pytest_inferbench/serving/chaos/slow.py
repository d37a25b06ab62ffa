"""Clients who send a byte now and then: are others served as before, and they in the end?"""

from __future__ import annotations

import math
import socket
import statistics
import time
from collections.abc import Sequence

from pytest_inferbench.serving.chaos.asking import Asker
from pytest_inferbench.serving.chaos.seen import Reply, Seen, improper, wrong_answers
from pytest_inferbench.serving.chaos.stage import Stage, Staging, staged
from pytest_inferbench.serving.chaos.traffic import Traffic
from pytest_inferbench.serving.chaos.wire import address_of, read_ending, request_of

SLOW = 100
_CALLERS = 2
_WARM = 8
_SPELL_S = 3.0
_BYTE_EVERY_S = 0.1
_PATIENCE_S = 20.0
FIRST_LINE = "first line"
WAITS = (
    f"it drops nobody who is slow: none of {SLOW} clients in {_SPELL_S:g} s; a proxy before it must"
    " set limits"
)
PIECES = "it answers 404 to requests whose first line arrives in several pieces: {} of them"
_SLOWER, _HELD_UP_MS = 5.0, 1000.0
"""Others may wait so many times as long, and a second in any case: who waits for the slow waits for
all of the spell, and a busy machine must not look like that."""


def slow_clients(staging: Staging) -> Seen:
    """Have clients drip their requests: some the first line, some the headers, some the body."""
    with staged(staging) as stage, stage.asker(_PATIENCE_S) as asker:
        request = request_of(asker.path, asker.bodies[0].content, asker.bodies[0].headers)
        begins = {
            FIRST_LINE: 10,
            "headers": request.index(b"\r\n") + 4,
            "body": request.index(b"\r\n\r\n") + 10,
        }
        calm = _traffic(stage, _SPELL_S)
        dripping = [
            _Dripping(stage.address, request, part, begins[part])
            for number in range(SLOW)
            for part in [tuple(begins)[number % len(begins)]]
        ]
        try:
            with Traffic(stage.asker(_PATIENCE_S), _CALLERS) as traffic:
                until_s = time.monotonic() + _SPELL_S
                while time.monotonic() < until_s:
                    for each in dripping:
                        each.send(1)
                    time.sleep(_BYTE_EVERY_S)
            meanwhile = traffic.replies
            dropped = sum(each.is_dropped for each in dripping)
            finished = [(each.part, each.finish(asker)) for each in dripping]
        finally:
            for each in dripping:
                each.close()
    before_ms, with_ms = _p95_ms(calm), _p95_ms(meanwhile)
    faults = [*wrong_answers(meanwhile), *improper(meanwhile, frozenset())]
    if not with_ms <= max(_SLOWER * before_ms, _HELD_UP_MS):
        said = f"beside {SLOW} slow clients the others' p95 is {with_ms:.1f} ms"
        faults.append(f"{said}, and was {before_ms:.1f} ms")
    known = [] if dropped else [WAITS]
    if not dropped:
        unanswered, pieces = _unanswered(finished)
        faults, known = faults + unanswered, known + pieces
    return Seen(
        tuple(faults),
        tuple(known),
        {
            "slow_clients": float(SLOW),
            "dropped": float(dropped),
            "calm_p95_ms": before_ms,
            "beside_p95_ms": with_ms,
            "requests": float(len(meanwhile)),
        },
    )


def _unanswered(finished: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return faults, and what is known, of clients who sent all in the end, by what was slow."""
    faults, known = [], []
    by_part: dict[str, list[str]] = {}
    for part, wrong in finished:
        if wrong:
            by_part.setdefault(part, []).append(wrong)
    for part, told in by_part.items():
        if part == FIRST_LINE and set(told) == {"status 404"}:
            known.append(PIECES.format(len(told)))
        else:
            faults.append(f"{len(told)} who were slow with the {part} got {told[0]} in the end")
    return faults, known


class _Dripping:
    """A client that sends its request byte by byte, from somewhere in a part of it."""

    def __init__(self, address: str, request: bytes, part: str, sent: int) -> None:
        self.part, self._request, self._sent = part, request, sent
        self.is_dropped = False
        self._connection = socket.create_connection(address_of(address), timeout=_PATIENCE_S)
        self._connection.sendall(request[:sent])

    def send(self, count: int) -> None:
        """Send so many further bytes."""
        try:
            self._connection.sendall(self._request[self._sent : self._sent + count])
            self._sent += count
        except OSError:
            self.is_dropped = True

    def finish(self, asker: Asker) -> str:
        """Send the rest; return what is wrong with the answer, empty if it is right."""
        self.send(len(self._request))
        ending = read_ending(self._connection, time.monotonic() + _PATIENCE_S)
        if ending.status != 200:
            return str(ending)
        return asker.check(0, ending.headers, ending.body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _traffic(stage: Stage, spell_s: float) -> Sequence[Reply]:
    with Traffic(stage.asker(_PATIENCE_S), _CALLERS) as traffic:
        traffic.wait_for_right(_WARM, _PATIENCE_S)
        time.sleep(spell_s / 2)
    return traffic.replies


def _p95_ms(replies: Sequence[Reply]) -> float:
    waits = [1e3 * (reply.ended_s - reply.started_s) for reply in replies if reply.is_right]
    return statistics.quantiles(waits, n=20)[-1] if len(waits) > 1 else math.nan
