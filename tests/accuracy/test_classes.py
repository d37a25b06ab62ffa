"""Top-k, agreement and drops of classifiers, the degenerate ones too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.classification import (
    agreement,
    changed,
    classify,
    lost_by_class,
    mcnemar,
    paired_drop,
)
from pytest_inferbench.errors import InferbenchError

BOOLS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def code_of(call, *arguments):
    with pytest.raises(InferbenchError) as error:
        call(*arguments)
    return error.value.code


def test_top_k_against_a_plain_loop():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(0, 1, (50, 1, 12)), rng.integers(0, 12, 50)
    found = classify(list(scores), list(labels))
    for k in (1, 5):
        expected = [
            label in sorted(range(12), key=lambda c, row=row: -row[c])[:k]
            for row, label in zip(scores[:, 0], labels, strict=True)
        ]
        assert found.right(k).tolist() == expected


def test_ties_go_to_the_lower_class_on_both_sides():
    found = classify([np.array([[1.0, 3.0, 3.0, 0.0]])])
    assert found.top[0].tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 1, 1)])
def test_shapes_that_are_scores(shape):
    assert classify([np.arange(4.0).reshape(shape)] * 2).top[:, 0].tolist() == [3, 3]


def test_several_rows_in_one_sample():
    found = classify([np.eye(3), np.eye(3)[:1]], [0, 1, 2, 1])
    assert found.top[:, 0].tolist() == [0, 1, 2, 0]
    assert found.right(1).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "outputs",
    [[], [np.zeros((1, 1))], [np.zeros((0, 3))], [np.zeros((1, 3, 2))], [np.zeros(3), np.zeros(4)]],
)
def test_what_is_no_scores_is_a_named_error(outputs):
    assert code_of(classify, outputs) == "IB-583"


@pytest.mark.parametrize("label", [-1, 3, "cat", 1.5, True, None])
def test_labels_out_of_range(label):
    assert code_of(classify, [np.arange(3.0)], [label]) == "IB-582"


def test_too_few_labels():
    assert code_of(classify, [np.arange(3.0)] * 2, [1]) == "IB-581"


@pytest.mark.parametrize("bad", [[1, np.nan, 0], [np.inf, 0, 1], [2, 2, 2], [0, 0, 0]])
def test_a_sample_without_a_best_class_is_a_fault_that_names_it(bad):
    found = classify([np.arange(3.0), np.array(bad, float)])
    (fault,) = found.faults
    assert fault.startswith("sample 1: ")


def test_sides_that_do_not_belong_together():
    few, many = classify([np.arange(3.0)]), classify([np.arange(3.0)] * 2)
    assert code_of(agreement, few, many) == "IB-583"


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(2, 7))))
def test_any_scores_give_ranks_or_faults(scores):
    found = classify(list(scores))
    assert (np.sort(found.top, axis=1) >= 0).all()
    assert agreement(found, found) == 1.0
    good = np.isfinite(scores).all(axis=1) & (scores.min(axis=1) != scores.max(axis=1))
    assert len(found.faults) == np.count_nonzero(~good)


@given(BOOLS)
def test_a_drop_is_the_difference_and_lies_near_its_interval(pairs):
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    drop = paired_drop(before, after)
    assert drop.drop == pytest.approx(before.mean() - after.mean())
    assert -1 <= drop.low < drop.high <= 1
    assert drop.low - 1e-9 <= drop.drop * len(pairs) / (len(pairs) + 2) <= drop.high + 1e-9
    assert 0 < drop.p_value <= 1


def test_the_interval_covers_as_often_as_it_says():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(600):
        draws = rng.choice(3, 200, p=[0.9, 0.07, 0.03])  # the true drop is 0.04
        drop = paired_drop(draws <= 1, draws != 1)
        covered += drop.low <= 0.04 <= drop.high
    assert 0.92 <= covered / 600 <= 0.985


def test_mcnemar_against_the_binomial():
    stats = pytest.importorskip("scipy.stats")
    for lost, gained in [(0, 0), (1, 0), (5, 1), (10, 30), (7, 7)]:
        total = lost + gained
        expected = stats.binomtest(lost, total).pvalue if total else 1.0
        assert mcnemar(lost, gained) == pytest.approx(expected)
    assert math.isclose(mcnemar(8, 0), 2 / 256)


def test_no_samples_cannot_be_paired():
    assert code_of(paired_drop, np.empty(0, bool), np.empty(0, bool)) == "IB-583"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_changed_names_first_what_was_right(seed):
    rng = np.random.default_rng(seed)
    labels = list(rng.integers(0, 4, 20))
    reference, candidate = (classify(list(rng.normal(0, 1, (20, 4))), labels) for _ in range(2))
    differ = changed(reference, candidate)
    assert set(differ) == {i for i in range(20) if reference.top[i, 0] != candidate.top[i, 0]}
    was_right = reference.right(1)[differ]
    assert (np.sort(was_right)[::-1] == was_right).all()
    lost = lost_by_class(reference, candidate)
    assert sum(lost.values()) == reference.right(1).sum() - candidate.right(1).sum()
