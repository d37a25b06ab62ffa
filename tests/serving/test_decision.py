"""A word for a server: the best rung that surely holds, and which better ones might."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.serving.decision import Ladder, Rung, decide
from pytest_inferbench.settings.budgets import Budget


def below(ms, name="p95"):
    return Budget(name, "absolute", ms, "lower", "ms", f"{ms} ms", "settings")


def at_least(rate):
    return Budget("per_s", "absolute", rate, "higher", "/s", f"{rate} /s", "settings")


FAILURES = Budget("failures", "absolute", 0.0, "lower", "ratio", "0", "settings")
LADDER = Ladder(
    (Rung("ship", {"p95": below(30)}), Rung("acceptable", {"p95": below(50)})), "do not ship"
)


@pytest.mark.parametrize(
    ("p95", "word", "might_be"),
    [
        ((20, 20.1, 19.9), "ship", ()),
        ((40, 40.1, 39.9), "acceptable", ()),
        ((90, 91, 89), "do not ship", ()),
        ((29, 31, 30), "acceptable", ("ship",)),
        ((20, 60, 45), "do not ship", ("ship", "acceptable")),
        ((20, 20), "do not ship", ("ship", "acceptable")),
        ((), "do not ship", ()),
        ((20, 20, math.nan), "do not ship", ()),
    ],
)
def test_one_objective(p95, word, might_be):
    decision = decide(LADDER, {"p95": p95})
    assert (decision.word, decision.might_be) == (word, might_be)
    assert ("(or " in str(decision)) == bool(might_be)


def test_the_reason_names_what_kept_it_from_the_next_better_word():
    assert decide(LADDER, {"p95": (20, 20, 20)}).reason == ""
    reason = decide(LADDER, {"p95": (40, 40, 40)}).reason
    assert reason == "p95 is 40 ms, and ship is 30 ms"
    assert decide(LADDER, {}).reason == "p95 was not measured, and acceptable is 50 ms"


def test_every_objective_of_a_word_must_hold():
    ladder = Ladder(
        (Rung("ship", {"p95": below(30), "per_s": at_least(100), "failures": FAILURES}),), "wait"
    )
    good = {"p95": (20, 20.1, 20), "per_s": (150, 151, 149), "failures": (0.0, 0.0, 0.0)}
    assert decide(ladder, good).word == "ship"
    assert decide(ladder, {**good, "per_s": (80, 81, 79)}).word == "wait"
    failing = decide(ladder, {**good, "failures": (0.0, 0.0, 0.01)})
    assert (failing.word, failing.might_be) == ("wait", ())
    assert "failures is 0.01" in failing.reason


def test_an_objective_that_was_not_measured_is_no_might_be():
    ladder = Ladder((Rung("ship", {"p95": below(30), "per_s": at_least(100)}),), "wait")
    decision = decide(ladder, {"p95": (29, 31, 30)})
    assert (decision.word, decision.might_be) == ("wait", ())
    assert decision.judgements["ship"][1].code == "IB-880"


@given(
    st.lists(st.floats(0.01, 1000), min_size=3, max_size=6),
    st.lists(st.floats(0.1, 500), min_size=1, max_size=4, unique=True),
    st.floats(1.01, 10),
)
def test_faster_is_never_decided_worse(runs, limits, factor):
    words = [f"w{number}" for number in range(len(limits))]
    rungs = tuple(Rung(w, {"p95": below(x)}) for w, x in zip(words, sorted(limits), strict=True))
    order = [*words, "otherwise"]
    ladder = Ladder(rungs, "otherwise")
    slow, fast = (decide(ladder, {"p95": [r / f for r in runs]}) for f in (1, factor))
    assert order.index(fast.word) <= order.index(slow.word)
    assert set(slow.might_be) <= set(order[: order.index(slow.word)])
