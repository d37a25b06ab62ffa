"""A session that is worse than the one before: what is kept of it, and what is said."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.baselines.accepted import compared
from pytest_inferbench.baselines.schema import (
    MAX_ACCEPTANCES,
    MAX_SESSIONS,
    Acceptance,
    Addition,
    BaselineFile,
    Session,
    merge,
)
from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS

EMPTY = BaselineFile(hardware="cpu-x-2c", model="net")


def budgets(**written):
    return {name: parse_budget(METRICS[name], value) for name, value in written.items()}


BUDGETS = budgets(p5="+10%", p50="+25%", p99="30 ms", memory="+5%")


def session(ms=1.0, *, mib=100.0, probe_ms=0.5, reason="", minute=0):
    return Session(
        recorded=f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00Z",
        reason=reason,
        artifact="a" * 64,
        latency_ms=dict.fromkeys(("p5", "p50", "p99"), (ms,) * 3),
        probe_ms=(probe_ms,) * 3,
        memory_mib={"peak": (mib,) * 3},
    )


def test_what_is_worse_by_more_than_its_budget_is_accepted_with_its_reason():
    found = compared(session(), session(1.12, reason="new driver"), BUDGETS, 0.08)
    assert found.acceptance == Acceptance(
        recorded="2026-01-01T00:00:00Z", reason="new driver", worse={"p5": 0.12}
    )
    assert found.line == 'accepted: p5 +12.0% (budget +10%), reason "new driver"'


def test_every_metric_beyond_its_budget_is_named():
    line = compared(session(), session(1.5, mib=110), BUDGETS, 0.08).line
    assert "p5 +50.0% (budget +10%), p50 +50.0% (budget +25%), memory +10.0% (budget +5%)" in line


def test_without_a_reason_that_is_said():
    found = compared(session(), session(1.5), BUDGETS, 0.08)
    assert "no reason given" in found.line
    assert "--inferbench-reason" in found.line
    assert found.acceptance.reason == ""


@pytest.mark.parametrize("ms", [1.0, 0.5, 1.09])
def test_what_stays_within_its_budgets_is_no_regression(ms):
    found = compared(session(), session(ms, reason="x"), BUDGETS, 0.08)
    assert (found.acceptance, found.line) == (None, "")


def test_a_slower_machine_is_no_accepted_regression():
    found = compared(session(), session(1.5, probe_ms=0.7), BUDGETS, 0.08)
    assert found.acceptance is None
    assert "as the machine itself is (+40.0% in time)" in found.line


@pytest.mark.parametrize("off", [budgets(p5=False), budgets(p5="2 ms"), {}])
def test_without_a_budget_against_the_baseline_nothing_is_accepted(off):
    assert compared(session(), session(9.0), off, 0.08).acceptance is None


def test_a_reason_stays_on_one_line():
    line = compared(session(), session(2.0, reason='a\n"b"\x1b[31m'), BUDGETS, 0.08).line
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_session_that_recorded_less_is_compared_in_what_both_have():
    bare = msgspec.structs.replace(session(2.0), latency_ms={"p50": (2.0,)}, probe_ms=())
    assert compared(session(), bare, BUDGETS, 0.08).acceptance.worse == {"p50": 1.0}


def test_what_was_accepted_outlives_its_session():
    accepted = Acceptance(recorded="2026-01-01T00:00:00Z", reason="why", worse={"p5": 0.2})
    first = Addition(cell="a fp32", session=session(reason="why"), accepted=accepted)
    file = merge(EMPTY, [first])
    more = [Addition(cell="a fp32", session=session(minute=n + 1)) for n in range(MAX_SESSIONS)]
    file = merge(file, more)
    assert all(each.reason == "" for each in file.sessions("a fp32"))
    assert file.cells["a fp32"].accepted == (accepted,)
    replaced = merge(file, [Addition(cell="a fp32", session=session(minute=90), replace=True)])
    assert len(replaced.sessions("a fp32")) == 1
    assert replaced.cells["a fp32"].accepted == (accepted,)


acceptances = st.builds(
    Acceptance,
    recorded=st.integers(0, 59).map(lambda minute: f"2026-01-01T00:{minute:02}:00Z"),
    reason=st.sampled_from(["", "one", "two"]),
    worse=st.dictionaries(st.sampled_from(["p5", "p50"]), st.floats(0.01, 5), min_size=1),
)
additions = st.lists(
    st.builds(
        Addition,
        cell=st.sampled_from(["a fp32", "a int8"]),
        session=st.integers(0, 40).map(lambda minute: session(minute=minute)),
        replace=st.booleans(),
        accepted=st.none() | acceptances,
    ),
    max_size=20,
)


@given(first=additions, second=additions, data=st.data())
def test_no_acceptance_is_lost_whatever_the_order(first, second, data):
    file = merge(merge(EMPTY, first), second)
    shuffled = merge(merge(EMPTY, first), data.draw(st.permutations(second)))
    assert shuffled == file
    for cell in file.cells:
        given_ = {
            msgspec.json.encode(each.accepted, order="sorted")
            for each in (*first, *second)
            if each.cell == cell and each.accepted is not None
        }
        kept = [msgspec.json.encode(a, order="sorted") for a in file.cells[cell].accepted]
        assert set(kept) == given_
        assert len(kept) == len(given_) <= MAX_ACCEPTANCES


@given(change=st.floats(-0.9, 20), limit=st.integers(1, 100))
def test_accepted_is_what_lies_above_the_limit(change, limit):
    found = compared(session(), session(1 + change), budgets(p5=f"+{limit}%"), 0.08)
    if not math.isclose(change, limit / 100, rel_tol=1e-9):
        assert (found.acceptance is not None) == (change > limit / 100)
