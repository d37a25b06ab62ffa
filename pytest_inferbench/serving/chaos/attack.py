"""Sends hundreds of malformed requests: is each refused as it should be, and does the server live?

Needs hypothesis, which draws them: the same ones each time, so that the same server gives the same
verdict. Nothing is made smaller when it fails, since what is drawn is small already.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_inferbench.serving.chaos.asking import Asker
from pytest_inferbench.serving.chaos.malformed import REFUSALS, WAYS, Good, Malformed
from pytest_inferbench.serving.chaos.seen import Seen
from pytest_inferbench.serving.chaos.stage import Stage, Staging, staged
from pytest_inferbench.serving.chaos.wire import CLOSED, Ending, exchange

EACH_WAY = 45
_ANSWERED_S = 5.0
_GOOD_EVERY = 15
_PARSING = (b"failed to parse the request JSON", b"Unable to parse '")


@dataclass
class _Tally:
    """What came of the requests so far."""

    sent: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    blamed: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0
    died_of: str = ""


def malformed_requests(staging: Staging, each_way: int = EACH_WAY) -> Seen:
    """Send so many malformed requests of every way, and good ones between them."""
    from hypothesis import HealthCheck, Phase, given
    from hypothesis import settings as hypothesis_settings

    tally = _Tally()
    with staged(staging) as stage, stage.asker() as asker:
        good = Good(asker.path, asker.bodies[0])
        for name, way in WAYS.items():
            drawn = given(way(good))
            limited = hypothesis_settings(
                max_examples=each_way,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            limited(drawn(_sender(name, stage, asker, tally)))()
        _ask_well(asker, tally, "the last of them")
    return _seen(tally)


def _sender(name: str, stage: Stage, asker: Asker, tally: _Tally) -> Callable[[Malformed], None]:
    def send(case: Malformed) -> None:
        if tally.died_of:
            return
        started_s = time.monotonic()
        try:
            ending = exchange(
                stage.address, case.request, half_close=case.half_close, within_s=_ANSWERED_S
            )
        except OSError as error:
            tally.died_of = f"{name}: before {case!r}: {error}"
            return
        tally.sent += 1
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - started_s)
        _note(name, case, ending, tally)
        if stage.has_ended:
            tally.died_of = f"{name}: {case!r}"
        elif tally.sent % _GOOD_EVERY == 0:
            _ask_well(asker, tally, repr(case))

    return send


def _note(name: str, case: Malformed, ending: Ending, tally: _Tally) -> None:
    tally.endings[str(ending)] += 1
    if ending.status in REFUSALS or (ending.how == CLOSED and case.may_close):
        return
    if ending.status == 500 and any(words in ending.body for words in _PARSING):
        tally.blamed[name] += 1
        return
    said = ending.body[:120].decode(errors="replace")
    tally.wrong.setdefault(f"{name}: {ending}", f"{said} to {case!r}")


def _ask_well(asker: Asker, tally: _Tally, after: str) -> None:
    if tally.died_of:
        return
    reply = asker.ask(tally.sent)
    if not reply.is_right:
        what = reply.wrong or f"status {reply.status}: {reply.said}"
        tally.wrong.setdefault("the next good request", f"{what}, after {after}")


def _seen(tally: _Tally) -> Seen:
    faults = [f"{where}: {what}" for where, what in tally.wrong.items()]
    if tally.died_of:
        faults.append(f"the server died of {tally.died_of}")
    blamed = sum(tally.blamed.values())
    known = (
        [
            f"{blamed} of {tally.sent} were refused with 500, as if it were the server's fault, for"
            f" what it cannot parse: {', '.join(tally.blamed)}"
        ]
        if blamed
        else []
    )
    figures = {name.replace(" ", "_"): float(count) for name, count in tally.endings.items()}
    return Seen(
        tuple(faults),
        tuple(known),
        {"malformed": float(tally.sent), "slowest_s": tally.slowest_s, **figures},
    )
