"""The end of a stretch in several processes: who ends it too waits for what they tell.

Locust is not imported here, as it would replace pytest's sockets: its runner is written down.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

from pytest_inferbench.load.driver import Driver
from pytest_inferbench.load.options import add_options
from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.load.stretches import Stretch

gevent = pytest.importorskip("gevent")
RLock = pytest.importorskip("gevent.lock").RLock

PART = LoadResult("grpc", 1, 1.0, 1)


LOST = "{} of 2 processes did not tell what came of their load"


@pytest.fixture
def master():
    """Return a driver of a master with two workers, whose stretch counts."""
    nothing = SimpleNamespace(add_listener=lambda listener: None)
    driver = Driver("triton", SimpleNamespace(init_command_line_parser=nothing, init=nothing))
    driver.environment = SimpleNamespace(
        runner=SimpleNamespace(send_message=lambda *args, **kwargs: None),
        host="http://nobody",
        parsed_options=parsed("--model", "m"),
    )
    driver._ending = RLock()
    driver._conducts, driver._is_worker = True, False
    driver._stretch = Stretch(2, 2)
    driver._stretch.counts()
    driver._stretch.counts()
    driver._parts.expect(["a", "b"])
    return driver


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("-u", dest="num_users", type=int)
    add_options(parser, "triton")
    return parser.parse_args(arguments)


def tell(driver, node, part):
    told = part.as_json() if part is not None else None
    driver._on_part(SimpleNamespace(data={"part": told}, node_id=node))


def test_who_ends_a_stretch_too_waits_for_its_parts(master):
    first = gevent.spawn(master.end)
    gevent.sleep(0.02)
    second = gevent.spawn(lambda: master.end() or list(master.results))
    gevent.sleep(0.02)
    assert not second.ready()
    for node in "ab":
        tell(master, node, PART)
    assert [each.requests for each in second.get(timeout=5)] == [2]
    first.get(timeout=5)
    assert master.faults == []


@pytest.mark.parametrize(("parts", "lost"), [([PART, None], 1), ([None, None], 2)])
def test_a_worker_that_measured_nothing_is_a_fault(master, parts, lost):
    ending = gevent.spawn(master.end)
    gevent.sleep(0.02)
    for node, part in zip("ab", parts, strict=True):
        tell(master, node, part)
    ending.get(timeout=5)
    assert master.faults == [LOST.format(lost)]
    assert len(master.results) == 2 - lost


def test_a_stretch_that_counted_in_one_of_two_is_none(master):
    master._stretch = Stretch(2, 2)
    master._stretch.counts()
    ending = gevent.spawn(master.end)
    gevent.sleep(0.02)
    for node, part in zip("ab", [PART, None], strict=True):
        tell(master, node, part)
    ending.get(timeout=5)
    assert master.results == []
    (fault,) = master.faults
    assert "IB-837" in fault
    assert "before it counted" in fault


def test_clients_of_a_shape_are_told_apart_from_its_first_step_on(master):
    options = SimpleNamespace(load_shape="sweep", levels="1,4,2", num_users=None)
    master.environment.parsed_options = options
    master.environment.runner.target_user_count = 1
    assert master._most_clients == 4
    del options.load_shape
    assert master._most_clients == 1


def test_a_worker_that_ends_too_waits_for_its_part(master):
    told = []
    master.environment.runner.send_message = lambda name, data: told.append(data["part"])
    parts = [PART]

    def end():
        if not parts:
            return None
        part = parts.pop()
        gevent.sleep(0.1)  # answers are waited for
        return part

    master._session = SimpleNamespace(end=end)
    asked = gevent.spawn(master._tell_part)
    gevent.sleep(0.02)
    assert not master._tell_part()  # as Ctrl-C does
    assert asked.ready()
    assert told == [PART.as_json()]
