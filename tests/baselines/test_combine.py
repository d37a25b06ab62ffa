"""Both sides of a merge: what either added is there, what either removed is not."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.baselines.combine import combine
from pytest_inferbench.baselines.schema import Acceptance, BaselineFile, CellSessions, Session

CELLS = ("a fp32", "a int8")


def file_of(held, accepted=()):
    cells = {
        name: CellSessions(
            sessions=tuple(
                Session(recorded=f"2026-01-01T00:{minute:02}:00Z", artifact="a" * 64)
                for minute in sorted(minutes)
            ),
            accepted=tuple(accepted),
        )
        for name, minutes in held.items()
        if minutes
    }
    return BaselineFile(hardware="cpu-x-2c", model="net", cells=cells)


def minutes(file, cell):
    return {session.recorded_at.minute for session in file.sessions(cell)}


# fewer sessions than a file keeps, so that none is dropped as the oldest
states = st.fixed_dictionaries({name: st.sets(st.integers(0, 15), max_size=6) for name in CELLS})


@given(base=states, ours=states, theirs=states)
def test_nothing_added_is_lost_and_nothing_removed_returns(base, ours, theirs):
    sides = [file_of(each) for each in (base, ours, theirs)]
    merged = combine(*sides)
    for cell in CELLS:
        added = (ours[cell] | theirs[cell]) - base[cell]
        kept = base[cell] & ours[cell] & theirs[cell]
        assert minutes(merged, cell) == added | kept
    assert combine(sides[0], sides[2], sides[1]) == merged
    assert combine(sides[0], merged, merged) == merged


@given(base=states, ours=states)
def test_a_side_that_did_nothing_changes_nothing(base, ours):
    before, now = file_of(base), file_of(ours)
    assert combine(before, now, before) == now
    assert combine(before, before, now) == now


def test_what_either_side_accepted_stays():
    accepted = [
        Acceptance(recorded=f"2026-01-01T00:0{n}:00Z", reason=f"{n}", worse={"p5": 0.1})
        for n in range(3)
    ]
    merged = combine(
        file_of({"a fp32": {1}}, accepted[:1]),
        file_of({"a fp32": {1, 2}}, accepted[:2]),
        file_of({"a fp32": {1, 3}}, [accepted[0], accepted[2]]),
    )
    assert [each.reason for each in merged.cells["a fp32"].accepted] == ["0", "1", "2"]
    assert msgspec.json.encode(merged)
