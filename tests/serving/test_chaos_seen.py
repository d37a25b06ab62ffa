"""What replies over time come to: recovery, wrong answers, improper statuses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.serving.chaos.giants import is_up_to
from pytest_inferbench.serving.chaos.seen import (
    Reply,
    improper,
    recovery,
    statuses,
    wrong_answers,
)

RIGHT, DEAD, REFUSED = (200, ""), (0, ""), (500, "")


def replies_of(*kinds, took=0.5):
    return [Reply(n, n + took, status, wrong) for n, (status, wrong) in enumerate(kinds)]


REPLIES = st.lists(
    st.builds(
        lambda start, took, kind: Reply(start, start + took, *kind),
        st.floats(0, 100),
        st.floats(0, 5),
        st.sampled_from([RIGHT, DEAD, REFUSED, (200, "y differs")]),
    ),
    max_size=30,
)


def test_nothing_happened_to_the_callers():
    went = recovery(replies_of(RIGHT, RIGHT), 0)
    assert (went.affected, went.recovered_s, went.slowest_s) == (0, 0.0, 0.5)


def test_recovery_counts_from_the_event_to_a_right_answer_to_a_later_request():
    went = recovery(replies_of(RIGHT, DEAD, REFUSED, RIGHT, RIGHT), 1.0)
    assert (went.affected, went.noticed_s, went.recovered_s) == (2, 0.5, 2.5)


def test_a_request_that_was_sent_before_and_failed_late_does_not_hide_recovery():
    late = Reply(1, 9, 500)
    went = recovery([late, *replies_of(RIGHT, RIGHT, RIGHT, RIGHT)], 1.0)
    assert (went.affected, went.recovered_s, went.slowest_s) == (1, 1.5, 8)


def test_no_right_answer_is_no_recovery():
    assert recovery(replies_of(RIGHT, DEAD), 1.0).recovered_s is None
    assert recovery([], 1.0).recovered_s is None


@given(REPLIES, st.floats(0, 100))
def test_what_was_over_before_does_not_count(replies, moment):
    went = recovery(replies, moment)
    assert went == recovery([r for r in replies if r.ended_s >= moment], moment)
    assert went.affected <= len(replies)
    if went.affected and went.recovered_s is not None:
        assert went.recovered_s >= 0


@given(REPLIES)
def test_every_status_is_counted_and_every_improper_one_told(replies):
    assert sum(statuses(replies).values()) == len(replies)
    assert improper(replies, frozenset({0, 500})) == []
    told = improper(replies, frozenset({0}))
    assert bool(told) == any(r.status == 500 for r in replies)
    assert bool(wrong_answers(replies)) == any(r.wrong for r in replies)


def test_versions_are_compared_as_numbers():
    assert is_up_to("2.51.0", "2.59.0")
    assert is_up_to("2.59.0", "2.59.0")
    assert not is_up_to("2.100.0", "2.59.0")
    assert not is_up_to("", "2.59.0")
