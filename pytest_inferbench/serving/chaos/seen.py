"""What a question of resilience came to: takes replies over time, gives faults, figures. Pure.

Times are seconds of one clock. A reply is right, wrong (an answer that is not the right one), or
refused with a status; status 0 says that there was no answer at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NO_ANSWER = 0


@dataclass(frozen=True)
class Reply:
    """What one request came to.

    Attributes:
        started_s: When it was sent.
        ended_s: When its answer was there, or it was clear that none would be.
        status: HTTP's; 0 where there was no answer.
        wrong: How an answer with status 200 differs from the right one; empty if it does not.
        said: What a refusal said, shortened; why there was no answer.
    """

    started_s: float
    ended_s: float
    status: int
    wrong: str = ""
    said: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is the answer that was due."""
        return self.status == 200 and not self.wrong


@dataclass(frozen=True)
class Seen:
    """What was seen of a server.

    Attributes:
        faults: What it owed and did not do; any fails the question.
        known: What it does that is known of it, and is no fault of the one who asks.
        figures: Recovery times, counts and the like, by name and unit.
        deaths: What it died of, as its version is known to: no fault of the one who asks, but
            nothing that it withstood either.
    """

    faults: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    deaths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recovery:
    """How answers went on after something happened.

    Attributes:
        affected: Replies that were not right, from then on.
        noticed_s: From then until the first of them ended; None where there was none.
        recovered_s: From then until the first right reply to a request that was sent after the last
            of them; 0 where all were right, None where none came.
        slowest_s: The longest that a caller waited, from then on.
    """

    affected: int
    noticed_s: float | None
    recovered_s: float | None
    slowest_s: float


def recovery(replies: Sequence[Reply], happened_s: float) -> Recovery:
    """Return how answers went on after a moment; replies that ended before it do not count."""
    after = sorted((r for r in replies if r.ended_s >= happened_s), key=lambda r: r.ended_s)
    slowest_s = max((reply.ended_s - reply.started_s for reply in after), default=0.0)
    bad = [reply for reply in after if not reply.is_right]
    if not bad:
        return Recovery(0, None, 0.0 if after else None, slowest_s)
    last_s = max(reply.started_s for reply in bad)
    later = [reply.ended_s for reply in after if reply.is_right and reply.started_s > last_s]
    recovered_s = min(later) - happened_s if later else None
    return Recovery(len(bad), bad[0].ended_s - happened_s, recovered_s, slowest_s)


def wrong_answers(replies: Sequence[Reply]) -> list[str]:
    """Return a fault if any answer was wrong, with how often and the first of them."""
    wrong = [reply.wrong for reply in replies if reply.wrong]
    return [f"{len(wrong)} of {len(replies)} answers are wrong: {wrong[0]}"] if wrong else []


def improper(replies: Sequence[Reply], proper: frozenset[int]) -> list[str]:
    """Return a fault for each status that a refusal may not have, with how often and what was said.

    Args:
        replies: Of any kind.
        proper: The statuses that a refusal may have here; 0 where no answer may come at all.
    """
    refused = [r for r in replies if r.status != 200 and r.status not in proper]
    count = Counter(reply.status for reply in refused)
    first = {reply.status: reply.said for reply in reversed(refused)}
    return [
        f"{times} requests ended with {told(status)}: {first[status]}"
        for status, times in sorted(count.items())
    ]


def statuses(replies: Sequence[Reply]) -> dict[str, float]:
    """Return how many replies had each status, as figures."""
    count = Counter(reply.status for reply in replies)
    return {
        "no_answer" if status == NO_ANSWER else f"status_{status}": float(times)
        for status, times in sorted(count.items())
    }


def told(status: int) -> str:
    """Return a status in words."""
    return "no answer" if status == NO_ANSWER else f"status {status}"
