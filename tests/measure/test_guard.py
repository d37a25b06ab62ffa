"""One look at the machine and the device, as `sample` and two workers in turn take it."""

from __future__ import annotations

import json
import os
import time

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.launches import why_set_aside
from pytest_inferbench.measure.guard import Guard
from pytest_inferbench.measure.watcher import Watcher
from pytest_inferbench.settings.schema import LatencySettings
from pytest_inferbench.worker.servant import Servant

ANYTHING = LatencySettings(most_steal=1.0, most_other=1.0, most_disturbed=1.0, most_stranger=1.0)


def test_what_a_guard_tells_is_plain_and_can_be_judged():
    guard = Guard(Watcher(), ours=[os.getppid()])
    time.sleep(0.05)
    told = guard.end()
    assert json.loads(json.dumps(told)) == told
    assert told["seen"]["seconds"] >= 0.05
    assert why_set_aside(ANYTHING, told) == ""
    assert "other processes used 90%" in why_set_aside(
        LatencySettings(), {**told, "steal_share": 0.0, "other_share": 0.9}
    )


@pytest.mark.parametrize(
    ("device", "counts"), [("cpu", False), ("remote", False), ("nvidia", True)]
)
def test_the_speed_of_the_cpus_sets_aside_what_runs_on_them(device, counts):
    told = {"steal_share": 0.0, "other_share": 0.0, "probes_ms": [1.0, 1.22], "seen": {}}
    why = why_set_aside(LatencySettings(), told, device)
    assert (why == "") is counts
    assert counts or "speed changed by 22%" in why


def test_a_worker_guards_from_one_call_to_another():
    servant = Servant()
    servant.handle("watch", {"device": "cpu"}, {})
    for _ in range(2):
        assert servant.handle("guard", {"begin": True, "ours": [1]}, {}) == ({}, {})
        fields, _ = servant.handle("guard", {"begin": False}, {})
        assert {"steal_share", "other_share", "seen"} == set(fields)
    with pytest.raises(InferbenchError, match="nothing is guarded"):
        servant.handle("guard", {"begin": False}, {})
