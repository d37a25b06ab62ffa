"""Pinning: which CPUs are chosen, what is refused, and that threads of a real worker inherit it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.affinity import VARIABLE, chosen
from pytest_inferbench.worker.client import Environment, Limits, launch


def machine(root, siblings):
    """Write what the kernel tells of each CPU's core."""
    for cpu, text in enumerate(siblings):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return str(root)


@pytest.mark.parametrize(
    ("siblings", "allowed", "cpus"),
    [
        (["0", "1", "2", "3"], {0, 1, 2, 3}, [0, 1, 2, 3]),
        (["0-1", "0-1", "2-3", "2-3"], {0, 1, 2, 3}, [0, 2]),
        (["0,2", "1,3", "0,2", "1,3"], {0, 1, 2, 3}, [0, 1]),
        (["0,2", "1,3", "0,2", "1,3"], {2, 3}, [2, 3]),
        (["0,2", "1,3", "0,2", "1,3"], {0, 2}, [0]),
        ([], {0, 1}, [0, 1]),
    ],
)
def test_auto_is_one_cpu_of_each_core(tmp_path, siblings, allowed, cpus):
    assert chosen("auto", allowed, 4, machine(tmp_path, siblings)) == cpus


@given(st.sets(st.integers(0, 63), min_size=1), st.data())
def test_cpus_that_are_allowed_are_taken_as_they_are(allowed, data):
    wanted = data.draw(st.sets(st.sampled_from(sorted(allowed)), min_size=1))
    assert chosen(",".join(map(str, wanted)), allowed, 64) == sorted(wanted)


def test_each_cpu_that_cannot_be_had_is_named_with_its_reason():
    with pytest.raises(InferbenchError) as caught:
        chosen("1,3,9", {0, 1}, 4)
    assert caught.value.code == "IB-673"
    assert "CPU 3 is not allowed to this process" in str(caught.value)
    assert "CPU 9 does not exist" in str(caught.value)
    assert "Here there are 0, 1" in str(caught.value)


def test_every_thread_of_a_worker_runs_where_it_was_pinned():
    cpu = min(os.sched_getaffinity(0))
    with launch(Environment(env={VARIABLE: str(cpu)})) as worker:
        assert worker.call("hello").fields["affinity"] == [cpu]
        threads = [int(entry.name) for entry in Path(f"/proc/{worker.pid}/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({cpu})}


def test_a_worker_that_is_not_pinned_has_what_this_process_has():
    with launch() as worker:
        assert worker.call("hello").fields["affinity"] == sorted(os.sched_getaffinity(0))


def test_a_worker_that_cannot_be_pinned_is_not_started():
    with pytest.raises(InferbenchError) as caught:
        launch(Environment(env={VARIABLE: "4095"}), Limits(open_timeout_s=60))
    assert caught.value.code == "IB-673"
    assert "CPU 4095 does not exist" in str(caught.value)
