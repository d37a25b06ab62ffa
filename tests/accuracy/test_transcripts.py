"""Greedy decoding, tokens in common, words and their error rate; the degenerate ones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.accuracy.speech import (
    edit_distance,
    greedy,
    normalized,
    text_of,
    token_agreement,
    word_errors,
)
from pytest_inferbench.errors import InferbenchError

TOKENS = st.lists(st.integers(0, 3), max_size=8)


def code_of(call, *arguments, **named):
    with pytest.raises(InferbenchError) as error:
        call(*arguments, **named)
    return error.value.code


def counting(tokens):
    """After k comes k + 1."""
    scores = np.zeros(8)
    scores[(tokens[-1] + 1) % 8] = 1
    return scores


def test_decoding_ends_with_the_end_or_when_it_is_cut():
    assert greedy(counting, [2], 5, most=10) == (3, 4, 5)
    assert greedy(counting, [2], 5, most=2) == (3, 4)
    seen = []
    greedy(lambda tokens: seen.append(list(tokens)) or counting(tokens), [7, 2], 4, most=9)
    assert seen == [[7, 2], [7, 2, 3]]


def test_suppressed_tokens_are_never_chosen():
    assert greedy(counting, [2], 5, most=10, suppress=[3, 99])[0] == 0


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        (np.full(8, np.nan), {}),
        (np.array([0, np.nan, 1, 2, 3, 4]), {}),
        (np.zeros(3), {}),
        (np.zeros(0), {}),
        (np.zeros(8), {"suppress": range(8)}),
    ],
)
def test_scores_that_choose_nothing(scores, named):
    assert code_of(greedy, lambda _: scores, [0], 5, most=4, **named) == "IB-588"


def slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), max_size=5))
def test_edits_against_every_way_of_making_them(a, b):
    assert edit_distance(a, b) == slow_distance(a, b) == edit_distance(b, a)


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=5))
def test_any_tokens_agree_from_none_to_all(pairs):
    first, second = zip(*pairs, strict=True)
    share, worst = token_agreement(first, second)
    assert 0 <= share <= 1
    assert 0 <= worst < len(pairs)
    assert token_agreement(first, first)[0] == 1.0
    assert (share == 1.0) == (first == second)


def test_a_token_put_in_costs_itself_and_the_worst_sample_is_named():
    assert token_agreement([[1, 2, 3, 4]], [[9, 1, 2, 3, 4]])[0] == pytest.approx(0.8)
    assert token_agreement([[1, 2], [3, 4]], [[1, 2], [3, 5]]) == (0.75, 1)


@pytest.mark.parametrize(("first", "second"), [([], []), ([[1]], []), ([[1]], [[1], [2]])])
def test_transcripts_that_do_not_belong_together(first, second):
    assert code_of(token_agreement, first, second) == "IB-583"


def test_bytes_of_the_vocabulary_make_text():
    words = {1: "\u0120Gr", 2: "\u00c3\u00bc", 3: "\u00c3\u0141e", 4: "<|en|>", 5: "."}
    assert text_of([4, 1, 2, 3, 5, 99], words) == "Grüße."
    assert text_of([], words) == ""
    assert text_of([2, 2], {2: "\u00c3"}) == "\ufffd\ufffd"


@given(st.text(max_size=30))
def test_any_text_comes_back_from_its_bytes(text):
    from pytest_inferbench.accuracy.speech import _BYTES

    letters = {byte: letter for letter, byte in _BYTES.items()}
    assert len(letters) == 256
    words = {i: letters[byte] for i, byte in enumerate(text.encode())}
    assert text_of(range(len(words)), words) == text.strip()


def test_case_and_punctuation_are_no_matter_of_hearing():
    assert normalized(" Don\u2019t, PANIC!  (42) ") == "don't panic 42"


def test_word_errors_are_jiwer_s():
    jiwer = pytest.importorskip("jiwer")
    truth = ["The cat sat on the mat.", "a b c d", "one"]
    heard = ["the cat sat mat", "a x c d e", "one"]
    found = word_errors(truth, heard)
    assert found.rate == pytest.approx(jiwer.wer([normalized(x) for x in truth], heard))
    assert (found.errors, found.words, found.worst) == (4, 11, 0)


def test_empty_transcripts():
    pytest.importorskip("jiwer")
    assert word_errors(["a b"], [""]).rate == 1.0
    nothing = word_errors(["", "a"], ["x y", "a"])
    assert (nothing.errors, nothing.words, nothing.rate) == (2, 1, 2.0)
    assert word_errors(["..."], [""]).rate is None
    assert code_of(word_errors, [], []) == "IB-583"
    assert code_of(word_errors, ["a"], []) == "IB-583"


def test_without_jiwer_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jiwer", None)
    assert code_of(word_errors, ["a"], ["a"]) == "IB-585"
