"""One process's part of the load: takes a plan, lets users ask, gives what came of each stretch.

Users are greenlets; all of them share one `Tally`, which is exchanged when a stretch begins or
ends, so that the loops pay nothing for it. Knows neither Locust nor other processes.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_inferbench.load.histogram import Histogram, merged, of_latencies
from pytest_inferbench.load.pacing import Pacer
from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.load.schedule import due_s
from pytest_inferbench.load.target import target_of
from pytest_inferbench.load.wire import RequestError

if TYPE_CHECKING:
    from pytest_inferbench.load.plan import LoadPlan
    from pytest_inferbench.load.target import Client

BURST = 32
"""Requests between two looks at whether a user is to stop."""

DRAIN_S = 5.0
"""How long is waited for answers at the end; at least, see `patience_s`."""

READY_S = 10.0
"""How long is waited for users to be connected, before a stretch begins without them; at least."""

_AFTER_LOSS_S = 0.05
_REASONS = 50


def patience_s(plan: LoadPlan, slowest_s: float = math.inf) -> float:
    """Return how long answers may take at the end: twice the slowest so far, as slow models need.

    Args:
        plan: Says when a request has failed in any case.
        slowest_s: The slowest answer; not known by those who have not measured.
    """
    return max(DRAIN_S, min(2 * slowest_s, plan.request_timeout_s))


class Tally:
    """What happened since it was made."""

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []
        self.failures: Counter[str] = Counter()
        self.histogram = Histogram()
        self.late = self.sent = self.received = self.open = 0
        self._told = 0

    def fail(self, reason: str) -> None:
        """Count a failure; of very many different reasons, only the first by name."""
        known = len(self.failures) < _REASONS or reason in self.failures
        self.failures[reason if known else "other reasons"] += 1

    def fold(self) -> tuple[list[int], int]:
        """Move the latencies so far into the histogram; return them, and the bytes they brought."""
        latencies, self.latencies_ns = self.latencies_ns, []
        if latencies:
            self.histogram = merged([self.histogram, of_latencies(latencies)])
        received, self._told = self.received - self._told, self.received
        return latencies, received


class User:
    """One client, and which of its samples is next."""

    def __init__(self, client: Client, number: int, left: Callable[[int], None]) -> None:
        self.client = client
        self.next = 0
        self._number, self._left = number, left

    def close(self) -> None:
        """End its connection."""
        self.client.close()
        self._left(self._number)


class Session:
    """The load that this process makes.

    Args:
        plan: What is planned for all processes.
        clients: How many users this process may have at once.
        report: Called with the latencies (ns) and bytes of good answers now and then.
        report_failure: Called with the reason of each failure.
    """

    def __init__(
        self,
        plan: LoadPlan,
        clients: int,
        report: Callable[[list[int], int], None],
        report_failure: Callable[[str], None],
    ) -> None:
        import gevent
        from gevent.event import Event
        from gevent.lock import BoundedSemaphore

        self._gevent = gevent
        self.plan = plan
        self._target = target_of(plan, clients)
        self._report, self._report_failure = report, report_failure
        self._clients = clients
        self._ready = 0
        self._numbers: set[int] = set()
        self._tally = Tally()
        self._warming = self._tally
        self._all: Tally | None = None
        self._turn = BoundedSemaphore(1)
        self._due = Event()
        self._schedule: Iterator[float] = iter(())
        self._pacer = Pacer() if plan.rate_per_s is not None else None
        self._epoch_ns = self._stretch = 0
        self._begun = (0, 0.0)
        self._share: tuple[int, float | None] = (0, None)
        self._starting: Any = None

    def user(self) -> User:
        """Return another user, who is connected."""
        number = next(each for each in itertools.count() if each not in self._numbers)
        self._numbers.add(number)  # whoever left in a shape leaves its samples to the next one
        client = self._target.client(number % self._clients)
        with contextlib.suppress(RequestError):  # it will be met again, and counted then
            client.exchange(0)
        self._ready += 1
        return User(client, number, self._left)

    def work(self, user: User) -> None:
        """Let a user ask for a while: a burst of requests, or one of an open loop."""
        if self._pacer is None:
            self._closed(user)
        else:
            self._open(user)

    def begin(
        self,
        counts: Callable[[], None],
        clients: int,
        rate_per_s: float | None = None,
        number: int = 0,
        phase: float = 0.0,
    ) -> None:
        """Begin a stretch; once all users are there, and after the warm-up, it counts.

        Args:
            counts: Called when it does.
            clients: How many users this process has.
            rate_per_s: Its part of the rate.
            number: Its own, by which its Poisson arrivals differ from other processes'.
            phase: By what share of a gap its even arrivals lie behind the first process's.
        """
        self._abort()
        self._share = (clients, rate_per_s)
        self._stretch += 1
        self._starting = self._gevent.spawn(self._start, counts, number, phase)

    def end(self) -> LoadResult | None:
        """End the stretch and return what came of it; None where it did not begin to count.

        Requests that are under way are waited for a while; what was not answered by then has
        failed, and so has what was due in an open loop and could not be sent.
        """
        tally, warming = self._all, self._warming
        self._all = None
        self._abort()
        if tally is None:
            return None
        ended_ns = time.monotonic_ns()
        cpu_s = _cpu_s() - self._begun[1]
        self._due.clear()
        self._tally = Tally()
        if self._pacer is not None:
            self._miss(tally, ended_ns)
        self._drain(tally, warming)
        self._fold(tally)
        gc.enable()
        clients, rate_per_s = self._share
        return LoadResult(
            protocol=self.plan.protocol,
            clients=clients,
            seconds=(ended_ns - self._begun[0]) / 1e9,
            requests=tally.histogram.count,
            failures=dict(tally.failures),
            histogram=tally.histogram,
            rate_per_s=rate_per_s,
            late=tally.late,
            sent_bytes=tally.sent,
            received_bytes=tally.received,
            client_cpu_s=cpu_s,
        )

    def fold(self) -> None:
        """Report what happened since this was last called."""
        self._fold(self._tally)

    def close(self) -> None:
        """Give everything back."""
        self._abort()
        if self._pacer is not None:
            self._pacer.close()
        self._target.close()

    def _closed(self, user: User) -> None:
        exchange, check = user.client.exchange, user.client.check
        sizes, verify = user.client.sizes, self.plan.verify or self.plan.expected is not None
        clock, number, last = time.monotonic_ns, user.next, len(user.client.sizes)
        for _ in range(BURST):
            number = number + 1 if number + 1 < last else 0
            # What is asked in a stretch is a part of it, whenever the answer comes: a server that
            # stalls at the end is told to be as slow as it was.
            tally = self._tally
            tally.open += 1
            started = clock()
            try:
                reply = exchange(number)
                ended = clock()
                if verify:
                    check(number, reply)
            except RequestError as error:
                self._failed(tally, error)
                continue
            finally:
                tally.open -= 1
            tally.latencies_ns.append(ended - started)
            tally.sent += sizes[number]
            tally.received += len(reply.head) + len(reply.body)
        user.next = number

    def _open(self, user: User) -> None:
        assert self._pacer is not None
        self._due.wait()
        # Whoever has the turn waits for the next moment, and lets the next one wait before it asks:
        # so the one that asks was waiting already, and nobody had to be woken for it.
        with self._turn:
            stretch = self._stretch
            due_ns = self._epoch_ns + int(next(self._schedule, 0.0) * 1e9)
            self._pacer.until(due_ns)
            if stretch != self._stretch or not self._due.is_set():
                return
            tally = self._tally
            tally.open += 1
        number = user.next = (user.next + 1) % len(user.client.sizes)
        try:
            self._ask(user, number, due_ns, tally)
        finally:
            tally.open -= 1

    def _ask(self, user: User, number: int, due_ns: int, tally: Tally) -> None:
        if time.monotonic_ns() - due_ns > self.plan.late_ms * 1e6:
            tally.late += 1
        try:
            reply = user.client.exchange(number)
            ended = time.monotonic_ns()
            if self.plan.verify or self.plan.expected is not None:
                user.client.check(number, reply)
        except RequestError as error:
            self._failed(tally, error)
            return
        tally.latencies_ns.append(ended - due_ns)
        tally.sent += user.client.sizes[number]
        tally.received += len(reply.head) + len(reply.body)

    def _failed(self, tally: Tally, error: RequestError) -> None:
        reason = str(error)
        tally.fail(reason)
        self._report_failure(reason)
        if error.lost:
            self._gevent.sleep(_AFTER_LOSS_S)

    def _start(self, counts: Callable[[], None], number: int, phase: float) -> None:
        clients, rate_per_s = self._share
        # Where a server is slow and there are many, the last one's first answer takes its time.
        give_up_s = time.monotonic() + max(READY_S, self.plan.request_timeout_s)
        while self._ready < clients and time.monotonic() < give_up_s:
            self._gevent.sleep(0.005)
        missing = clients - self._ready
        self._epoch_ns = time.monotonic_ns()
        if rate_per_s is not None:
            plan = self.plan
            self._schedule = due_s(plan.arrivals, rate_per_s, plan.seed * 1000 + number, phase)
            self._due.set()
        self._gevent.sleep(self.plan.warmup_s)
        self._starting = None
        self._count(missing)
        counts()

    def _left(self, number: int) -> None:
        self._ready -= 1
        self._numbers.discard(number)

    def _count(self, missing: int) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._fold(self._tally)
        self._warming = self._tally
        self._tally = self._all = Tally()
        if missing > 0:
            self._tally.failures["not connected when load began"] += missing
        self._begun = (time.monotonic_ns(), _cpu_s())

    def _abort(self) -> None:
        if self._starting is not None:
            self._starting.kill()
            self._starting = None

    def _miss(self, tally: Tally, ended_ns: int) -> None:
        """Count what was due before the end, and was not sent."""
        unsent = 0
        for at_s in self._schedule:
            if self._epoch_ns + at_s * 1e9 > ended_ns:
                break
            unsent += 1
        if unsent:
            tally.failures["not sent: every client was waiting"] += unsent

    def _drain(self, tally: Tally, warming: Tally) -> None:
        """Wait for answers; a request of the warm-up that has none yet is no better than others."""
        for each in (tally, warming):
            self._fold(each)
        slowest_s = max(tally.histogram.most_ms, warming.histogram.most_ms) / 1e3
        give_up_s = time.monotonic() + patience_s(self.plan, slowest_s)
        while (unanswered := tally.open + warming.open) and time.monotonic() < give_up_s:
            self._gevent.sleep(0.005)
        if unanswered:
            tally.failures["not answered before the end"] += unanswered

    def _fold(self, tally: Tally) -> None:
        latencies, received = tally.fold()
        if latencies:
            self._report(latencies, received)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
