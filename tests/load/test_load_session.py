"""A session counts what users ask, and forgets nothing that a server leaves open."""

from __future__ import annotations

import pytest

from pytest_inferbench.load import session as module
from pytest_inferbench.load.http_wire import Reply
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.session import Session

gevent = pytest.importorskip("gevent")
Event = pytest.importorskip("gevent.event").Event


class Server:
    """What users ask here: it answers at once, or when it is told to."""

    def __init__(self):
        self.answers, self.connects = Event(), Event()
        self.answers.set()
        self.connects.set()
        self.numbers = []

    def client(self, number):
        self.numbers.append(number)
        return Asked(self)

    def close(self):
        """Nothing is held."""


class Asked:
    """A connection."""

    sizes = (1, 1)

    def __init__(self, server):
        self.server = server
        self.asked = 0

    def exchange(self, number):
        del number
        self.asked += 1
        gevent.sleep(0.001)
        (self.server.connects if self.asked == 1 else self.server.answers).wait()
        return Reply(200, b"", b"x")

    def check(self, number, reply):
        """Every answer is right."""

    def close(self):
        """Nothing is held."""


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(module, "target_of", lambda plan, clients: made)
    monkeypatch.setattr(module, "DRAIN_S", 0.3)
    monkeypatch.setattr(module, "READY_S", 0.3)
    return made


@pytest.fixture
def load():
    """Return how to begin a session of so many users."""
    greenlets, sessions = [], []

    def begun(clients, **fields):
        plan = LoadPlan("http://nobody", "m", clients=clients, warmup_s=0.05, **fields)
        one = Session(plan, clients, lambda latencies, received: None, lambda reason: None)
        sessions.append(one)

        def use():
            user = one.user()
            while True:
                one.work(user)

        greenlets.extend(gevent.spawn(use) for _ in range(clients))
        counting = Event()
        one.begin(counting.set, clients, plan.rate_per_s)
        assert counting.wait(5)
        return one

    yield begun
    gevent.killall(greenlets)
    for each in sessions:
        each.close()


LOOPS = pytest.mark.parametrize("fields", [{}, {"rate_per_s": 500.0}], ids=["closed", "open"])


@LOOPS
def test_requests_that_a_server_leaves_open_have_failed(server, load, fields):
    begun = load(4, **fields)
    gevent.sleep(0.1)
    server.answers.clear()
    gevent.sleep(0.1)
    result = begun.end()
    assert result.requests > 4
    assert result.failures["not answered before the end"] == 4


def test_so_have_those_of_the_warm_up_that_are_open_still(server, load):
    server.answers.clear()
    result = load(3).end()
    assert result.requests == 0
    assert result.failures == {"not answered before the end": 3}


@LOOPS
def test_an_answer_after_the_end_is_as_late_as_it_was(server, load, fields):
    begun = load(2, **fields)
    gevent.sleep(0.1)
    server.answers.clear()
    gevent.sleep(0.1)
    gevent.spawn_later(0.1, server.answers.set)
    result = begun.end()
    assert "not answered before the end" not in result.failures
    assert result.histogram.count == result.requests
    assert result.histogram.percentile_ms(100) > 150


def test_an_answer_of_a_slow_server_is_waited_for(server, load, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_S", 0.01)
    begun = load(2)
    server.answers.clear()  # meets requests of the warm-up, or the first that count
    gevent.spawn_later(0.5, server.answers.set)
    gevent.sleep(0.6)
    server.answers.clear()
    gevent.sleep(0.05)
    gevent.spawn_later(0.2, server.answers.set)
    result = begun.end()
    assert result.failures == {}
    assert result.histogram.count == result.requests


def test_a_stretch_begins_anew_after_one_that_was_left_open(server, load):
    begun = load(2)
    server.answers.clear()
    gevent.sleep(0.05)
    assert begun.end().failed == 2
    server.answers.set()
    counting = Event()
    begun.begin(counting.set, 2)
    assert counting.wait(5)
    gevent.sleep(0.1)
    again = begun.end()
    assert again.failures == {}
    assert again.requests > 2


def test_users_that_are_not_connected_have_failed(server, load):
    server.connects.clear()
    result = load(3, request_timeout_s=0.2).end()
    assert (result.clients, result.requests) == (3, 0)
    assert result.failures == {"not connected when load began": 3}


def test_users_at_the_same_time_have_numbers_of_their_own(server):
    plan = LoadPlan("http://nobody", "m", clients=4)
    session = Session(plan, 4, lambda latencies, received: None, lambda reason: None)
    first, second, third = (session.user() for _ in range(3))
    second.close()
    session.user()
    session.user()
    assert server.numbers == [0, 1, 2, 1, 3]
    third.close()
    first.close()
    session.close()
