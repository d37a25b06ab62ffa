"""The questions of resilience find what they ask about: asked of servers that have faults."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from pytest_inferbench.conformance.contract import NotAsked, NotHere
from pytest_inferbench.serving.chaos import attack, crowd, slow, stage
from pytest_inferbench.serving.chaos.overflow import queue_overflow
from pytest_inferbench.serving.chaos.seen import wrong_answers
from pytest_inferbench.serving.chaos.stage import Staging, staged
from pytest_inferbench.serving.chaos.stub import stub_killed
from pytest_inferbench.serving.chaos.traffic import Traffic

SERVER = Path(__file__).with_name("lenient_server.py")


@pytest.fixture
def staging():
    started = []

    def start(fault, values=(1, 2, 4, 8)):
        process = subprocess.Popen(
            [sys.executable, str(SERVER), fault],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        port = int(process.stdout.readline())
        inputs = [{"x": np.full((1, 4), number, np.float32)} for number in values]
        return Staging(inputs, 1e-4, url=f"http://127.0.0.1:{port}")

    yield start
    for process in started:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def test_a_strict_server_refuses_all_that_is_malformed(staging):
    seen = attack.malformed_requests(staging("none"), each_way=15)
    assert seen.faults == ()
    assert seen.figures["malformed"] >= 10 * len(attack.WAYS)
    assert not seen.figures.get("status_200")


def test_a_server_that_answers_everything_is_found(staging):
    seen = attack.malformed_requests(staging("yes"), each_way=10)
    found = " ".join(seen.faults)
    for way in ("JSON", "shapes", "dtypes", "names", "sizes"):
        assert f"{way}: status 200" in found


def test_a_server_that_dies_of_a_request_is_found_with_the_request(staging):
    seen = attack.malformed_requests(staging("crash"), each_way=5)
    assert any("the server died of" in fault for fault in seen.faults), seen.faults
    assert seen.figures["malformed"] < 60


def test_an_answer_to_the_wrong_caller_is_found_and_whose_it_is(staging):
    with staged(staging("swapped")) as stage:
        with Traffic(stage.asker(), 4) as traffic:
            assert traffic.wait_until(lambda: len(traffic.replies) > 60, 10)
        (fault,) = wrong_answers(traffic.replies)
    assert "it is the answer to request" in fault


def test_nobody_is_asked_whose_swapped_answers_would_not_be_seen(staging):
    with pytest.raises(NotAsked, match="alike"), staged(staging("swapped", (1, 1.00001))):
        pass
    with staged(staging("swapped", (1, 1.00001, 4))) as stage:
        assert [example.inputs["x"][0, 0] for example in stage.examples] == [1, 4]


@pytest.mark.slow
def test_a_server_with_one_thread_is_held_up_by_slow_clients(staging, monkeypatch):
    monkeypatch.setattr(slow, "_PATIENCE_S", 2.0)
    monkeypatch.setattr(slow, "SLOW", 9)
    assert slow.slow_clients(staging("none")).faults == ()
    assert slow.slow_clients(staging("one")).faults


def test_a_crowd_is_answered(staging, monkeypatch):
    monkeypatch.setattr(crowd, "CONNECTIONS", 100)
    soft, hard = limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(crowd, "_SPARE", min(soft, hard - 101))  # more than it may have
    seen = crowd.crowd(staging("none"))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit
    assert seen.faults == ()
    assert seen.figures["status_200"] == 100


def test_what_this_machine_is_too_weak_for_applies_all_the_same(staging, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    with pytest.raises(NotHere, match="1000 open files here, and 1300"):
        crowd.crowd(staging("none"))
    monkeypatch.setattr(stage, "_SLOWEST_S", 0.0)
    with pytest.raises(NotHere, match="too long"), staged(staging("none")):
        pass


def test_somebody_elses_server_is_not_broken(staging):
    for question in (stub_killed, queue_overflow):
        with pytest.raises(NotAsked, match="somebody else"):
            question(staging("none"))
