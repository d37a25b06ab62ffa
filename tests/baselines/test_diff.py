"""What changed between two states: exactly that, by cell, whatever the order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.baselines.diff import diff, diff_cases, relative
from pytest_inferbench.baselines.schema import (
    Acceptance,
    BaselineFile,
    CellSessions,
    Session,
)
from pytest_inferbench.onnx_cases.baseline import CaseBaseline, record_of
from pytest_inferbench.onnx_cases.outcomes import Kind
from pytest_inferbench.report.recorded import diff_lines, plain_change

KEY = ("cpu-x-2c", "net")


def session(minute=0, ms=1.0, **fields):
    return Session(
        recorded=f"2026-01-01T00:{minute:02}:00Z",
        artifact=fields.pop("artifact", "a" * 64),
        latency_ms={"p5": (ms,) * 3, "p50": (2 * ms,) * 3},
        **fields,
    )


def files(cells, accepted=()):
    held = {
        name: CellSessions(sessions=tuple(sessions), accepted=tuple(accepted))
        for name, sessions in cells.items()
    }
    return {KEY: BaselineFile(hardware=KEY[0], model=KEY[1], cells=held)}


sessions = st.builds(
    session,
    st.integers(0, 30),
    st.sampled_from([1.0, 1.5]),
    reason=st.sampled_from(["", "why"]),
    scores=st.dictionaries(st.sampled_from(["map", "snr_db"]), st.sampled_from([0.0, -3.0, 0.5])),
)
states = st.dictionaries(
    st.sampled_from(["a fp32", "a int8", "b fp32"]), st.lists(sessions, max_size=5)
).map(files)


def texts(found):
    return {msgspec.json.encode(each, order="sorted") for each in found}


@given(old=states, new=states)
def test_added_and_removed_lead_from_the_one_to_the_other(old, new):
    changes = {change.cell: change for change in diff(old, new)}
    assert list(changes) == sorted(changes)
    for cell in {*old[KEY].cells, *new[KEY].cells}:
        before, now = (texts(state[KEY].sessions(cell)) for state in (old, new))
        if cell not in changes:
            assert before == now
            continue
        change = changes[cell]
        assert (before - texts(change.removed)) | texts(change.added) == now
        assert not texts(change.removed) & now
        assert not texts(change.added) & before
        assert (change.before, change.now) == tuple(
            len(state[KEY].sessions(cell)) for state in (old, new)
        )


@given(state=states, data=st.data())
def test_the_order_within_a_file_is_no_change(state, data):
    held = state[KEY]
    shuffled = {
        name: tuple(data.draw(st.permutations(cell.sessions)))
        for name, cell in reversed(held.cells.items())
    }
    assert diff(state, files(shuffled)) == []


@given(old=states, new=states)
def test_the_text_is_the_same_each_time_and_one_line_an_item(old, new):
    lines = diff_lines(diff(old, new), [])
    assert lines == diff_lines(diff(old, new), [])
    assert all("\n" not in line for line in lines)
    msgspec.json.encode([plain_change(each) for each in diff(old, new)])


def test_a_session_that_was_added_shows_by_how_much_and_what_differs():
    old = files({"a fp32": [session(0, environment={"onnxruntime": "1.31", "kernel": "6.1"})]})
    later = session(
        9,
        1.2,
        reason="new driver",
        artifact="b" * 64,
        environment={"onnxruntime": "1.32", "kernel": "6.2", "option threads": "1"},
        scores={"map": 0.5},
        memory_mib={"peak": (80.0,)},
    )
    accepted = Acceptance(recorded=later.recorded, reason="new driver", worse={"p5": 0.2})
    new = files({"a fp32": [*old[KEY].sessions("a fp32"), later]}, [accepted])
    assert diff_lines(diff(old, new), []) == [
        "net, a fp32 on cpu-x-2c: 1 -> 2 sessions",
        '  added 2026-01-01T00:09:00Z, reason "new driver"',
        '  accepted 2026-01-01: p5 +20.0%, reason "new driver"',
        "  machine differs: kernel 6.1 -> 6.2",
        "  packages differ: onnxruntime 1.31 -> 1.32",
        "  artifact differs: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "  options differ: threads absent -> 1",
        "  p5      1 -> 1.2 ms, +20.0%  all sessions 1 -> 1.095 ms, +9.5%",
        "  p50     2 -> 2.4 ms, +20.0%  all sessions 2 -> 2.191 ms, +9.5%",
        "  memory  nothing -> 80 MiB",
        "  map     nothing -> 0.5",
    ]


def test_what_is_pruned_moves_what_the_gate_compares_with():
    old = files({"a fp32": [session(0, 1.0), session(1, 1.2)]})
    new = files({"a fp32": [session(1, 1.2)]})
    (change,) = diff(old, new)
    p5 = next(each for each in change.figures if each.name == "p5")
    assert (p5.old, p5.new) == (1.2, 1.2)
    assert p5.baseline_change == pytest.approx(1.2 / 1.2**0.5 - 1)


def test_cells_that_come_and_go_are_said():
    old, new = files({"a fp32": [session()]}), files({"b fp32": [session()]})
    lines = diff_lines(diff(old, new), [])
    assert "net, a fp32 on cpu-x-2c: 1 -> 0 sessions, no longer recorded" in lines
    assert "net, b fp32 on cpu-x-2c: 0 -> 1 session, recorded for the first time" in lines
    assert [each.cell for each in diff(old, {})] == ["a fp32"]


@pytest.mark.parametrize(("old", "new"), [(0.0, 1.0), (-2.0, 1.0), (None, 1.0), (1.0, None)])
def test_a_change_from_nothing_has_no_percentage(old, new):
    assert relative(old, new) is None


def cases(version="rt 1.0", reason="", **outcomes):
    record = record_of(outcomes, onnx="1.23", recorded="2026-01-01T00:00:00Z", reason=reason)
    return {"cpu-x-2c": CaseBaseline(hardware="cpu-x-2c", cells={"a fp32": {version: record}})}


def test_onnx_s_cases_are_counted_by_outcome():
    old = cases(one=Kind.PASSED, two=Kind.FAILED, three=Kind.UNSUPPORTED)
    new = cases(one=Kind.PASSED, two=Kind.PASSED, three=Kind.UNSUPPORTED, reason="fixed")
    assert diff_lines([], diff_cases(old, new)) == [
        "onnx-ops, a fp32 with rt 1.0 on cpu-x-2c: passed 1 -> 2, failed 1 -> 0, unsupported 1;"
        ' 1 case ended otherwise; reason "fixed"'
    ]
    assert diff_cases(old, old) == []
    fresh = diff_lines([], diff_cases(old, cases("rt 2.0", one=Kind.PASSED)))
    assert "with rt 1.0 on cpu-x-2c: passed 1 -> 0" in fresh[0]
    assert "no longer recorded" in fresh[0]
    assert "with rt 2.0 on cpu-x-2c: passed 0 -> 1; recorded for the first time" in fresh[1]
