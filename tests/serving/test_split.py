"""The split of a request's time adds up, differences never go back, and what moved is named."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.serving.split import PARTS, Snapshot, WentBackError, moved, split

counts = st.integers(0, 10**12)
snapshots = st.builds(Snapshot, **{each.name: counts for each in dataclasses.fields(Snapshot)})
parts = st.fixed_dictionaries({part: st.floats(0, 1e4) for part in PARTS})


@given(snapshots, snapshots)
def test_a_difference_is_what_was_added(before, meanwhile):
    both = {
        each.name: getattr(before, each.name) + getattr(meanwhile, each.name)
        for each in dataclasses.fields(Snapshot)
    }
    assert Snapshot(**both).since(before) == meanwhile


@given(snapshots, st.sampled_from(["requests", "queue_ns", "executions", "failures"]))
def test_a_count_that_went_back_is_no_difference(before, name):
    larger = dataclasses.replace(before, **{name: getattr(before, name) + 1})
    with pytest.raises(WentBackError, match="went back"):
        before.since(larger)


@given(snapshots, st.floats(0.001, 1e5))
def test_the_parts_add_up_to_what_the_client_saw(served, client_ms):
    parts = split(client_ms, served)
    assert tuple(parts) == PARTS
    assert min(parts.values()) >= 0
    inside = max(served.request_ns, served.queue_ns + served.input_ns)
    server_ms = sum(parts[part] for part in PARTS if part != "network")
    assert sum(parts.values()) == pytest.approx(max(client_ms, server_ms))
    if served.requests:
        assert server_ms * (1 + 1e-9) >= inside / served.requests / 1e6
        assert parts["queue"] == pytest.approx(served.queue_ms)


def test_a_known_split():
    served = Snapshot(
        requests=10,
        request_ns=50_000_000,
        queue_ns=20_000_000,
        input_ns=1_000_000,
        infer_ns=25_000_000,
        output_ns=2_000_000,
        inferences=40,
        executions=8,
    )
    assert split(6.0, served) == pytest.approx(
        {"network": 1.0, "queue": 2.0, "input": 0.1, "infer": 2.5, "output": 0.2, "other": 0.2}
    )
    assert served.batch_mean == 5


@given(parts, parts)
def test_what_moved_explains_most_of_the_change(then, now):
    said = moved(then, now)
    total = sum(now.values()) - sum(then.values())
    assert bool(said) == (total > 0)
    if said:
        named = [word for word in said.split() if word in PARTS]
        assert named
        assert sum(now[part] - then[part] for part in named) >= 0.8 * total * (1 - 1e-9)
        assert all(now[part] > then[part] for part in named)


def test_the_part_that_moved_is_named_with_what_it_moved_by():
    then = {**dict.fromkeys(PARTS, 0.0), "queue": 0.2, "infer": 3.0}
    now = {**then, "queue": 20.0, "infer": 3.3}
    assert moved(then, now) == "queue +19.8 ms of +20.1 ms"
    both = {**then, "queue": 10.2, "infer": 13.0}
    assert moved(then, both) == "queue +10 ms and infer +10 ms of +20 ms"
    assert moved(now, then) == ""
