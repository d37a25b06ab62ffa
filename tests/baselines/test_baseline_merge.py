"""Merging: pure, deterministic, the same in any order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_inferbench.baselines.schema import (
    MAX_SESSIONS,
    Addition,
    BaselineFile,
    CellSessions,
    Session,
    merge,
)

EMPTY = BaselineFile(hardware="cpu-x-2c", model="detector")


def session(second: int, **fields) -> Session:
    recorded = f"2026-01-01T00:{second // 60:02}:{second % 60:02}+00:00"
    return Session(recorded=recorded, artifact="a" * 64, **fields)


sessions = st.builds(
    session,
    st.integers(0, 40),
    reason=st.sampled_from(["", "driver 570"]),
    latency_ms=st.dictionaries(
        st.sampled_from(["p5", "p50"]), st.lists(st.floats(0.5, 9), min_size=1).map(tuple)
    ),
)
additions = st.lists(
    st.builds(
        Addition,
        cell=st.sampled_from(["ort-cpu fp32", "ort-cpu int8"]),
        session=sessions,
        replace=st.booleans(),
    ),
    max_size=30,
)


@hypothesis_settings(deadline=None)
@given(first=additions, second=additions, data=st.data())
def test_the_order_of_additions_does_not_matter(first, second, data):
    existing = merge(EMPTY, first)
    expected = msgspec.json.encode(merge(existing, second))
    shuffled = data.draw(st.permutations(second))
    assert msgspec.json.encode(merge(existing, shuffled)) == expected


@hypothesis_settings(deadline=None)
@given(first=additions, second=additions)
def test_merging_step_by_step_is_merging_at_once(first, second):
    beside = [msgspec.structs.replace(a, replace=False) for a in (*first, *second)]
    steps = merge(merge(EMPTY, beside[: len(first)]), beside[len(first) :])
    assert steps == merge(EMPTY, beside)
    assert merge(steps, beside[len(first) :]) == steps


@hypothesis_settings(deadline=None)
@given(additions=additions)
def test_what_is_kept(additions):
    merged = merge(EMPTY, additions)
    assert list(merged.cells) == sorted({a.cell for a in additions})
    for cell in merged.cells:
        kept = merged.sessions(cell)
        distinct = []
        for a in additions:
            if a.cell == cell and a.session not in distinct:
                distinct.append(a.session)
        assert len(kept) == min(len(distinct), MAX_SESSIONS)
        times = [one.recorded for one in kept]
        assert times == sorted(times)
        dropped = [one for one in distinct if one not in kept]
        assert all(one.recorded <= times[0] for one in dropped)


def test_replacing_touches_that_cell_only():
    old = merge(EMPTY, [Addition(cell=c, session=session(1)) for c in ("a fp32", "b fp32")])
    new = merge(old, [Addition(cell="a fp32", session=session(2), replace=True)])
    assert new.sessions("a fp32") == (session(2),)
    assert new.sessions("b fp32") == (session(1),)
    assert new.sessions("c fp32") == ()
    assert old.sessions("a fp32") == (session(1),)


def test_the_oldest_are_dropped():
    many = [Addition(cell="a fp32", session=session(n)) for n in range(MAX_SESSIONS + 3)]
    kept = merge(EMPTY, many).sessions("a fp32")
    assert kept == tuple(addition.session for addition in many[3:])


def test_order_is_by_time_not_by_spelling():
    early = Session(recorded="2026-01-01T00:00:00Z", artifact="a" * 64)
    late = Session(recorded="2026-01-01T00:00:00.500+00:00", artifact="a" * 64)
    merged = merge(EMPTY, [Addition(cell="a fp32", session=s) for s in (late, early)])
    assert merged.cells["a fp32"] == CellSessions(sessions=(early, late))


def test_sessions_are_given_oldest_first_however_a_file_was_merged():
    late, early = session(9), session(1)
    file = msgspec.structs.replace(EMPTY, cells={"a fp32": CellSessions(sessions=(late, early))})
    assert file.sessions("a fp32") == (early, late)


@pytest.mark.parametrize(
    "recorded", ["yesterday", "2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00"]
)
def test_a_time_that_is_not_utc_is_refused(recorded):
    with pytest.raises(ValueError, match="in UTC"):
        Session(recorded=recorded, artifact="a" * 64)
