"""Pooling, cosines, rankings and duplicates of embeddings, the degenerate ones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy import retrieval
from pytest_inferbench.accuracy.retrieval import (
    cosines,
    duplicates,
    embed,
    is_all_one,
    null_cosine,
    pool,
    recall_at,
)
from pytest_inferbench.errors import InferbenchError

RNG = np.random.default_rng(7)


def code_of(call, *arguments):
    with pytest.raises(InferbenchError) as error:
        call(*arguments)
    return error.value.code


def embedded(vectors):
    return embed(list(np.asarray(vectors, float)[:, None]))


def test_pooling_against_a_plain_loop():
    tokens = RNG.normal(0, 1, (3, 6, 4))
    mask = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 0]])
    for row in range(3):
        present = np.flatnonzero(mask[row])
        np.testing.assert_array_equal(pool(tokens, mask, "cls")[row], tokens[row, 0])
        np.testing.assert_array_equal(pool(tokens, mask, "last")[row], tokens[row, present[-1]])
        expected = tokens[row, present].mean(axis=0)
        np.testing.assert_allclose(pool(tokens, mask, "mean")[row], expected)
    np.testing.assert_allclose(pool(tokens, None, "mean"), tokens.mean(axis=1))
    np.testing.assert_array_equal(pool(tokens, None, "last"), tokens[:, -1])


def test_what_the_mask_hides_may_be_anything():
    tokens = RNG.normal(0, 1, (1, 3, 2))
    clean = pool(tokens, np.array([[1, 1, 0]]), "mean")
    tokens[0, 2] = np.nan
    np.testing.assert_array_equal(pool(tokens, np.array([[1, 1, 0]]), "mean"), clean)


def test_feature_maps_are_averaged_over_their_area():
    maps = RNG.normal(0, 1, (2, 5, 3, 4))
    np.testing.assert_allclose(pool(maps, None, "mean"), maps.mean(axis=(2, 3)))
    assert pool(maps[:, :, :1, :1], None, "none").shape == (2, 5)


@pytest.mark.parametrize(
    ("shape", "mask", "pooling"),
    [
        ((2, 3, 4), None, "none"),
        ((), None, "none"),
        ((2, 4), None, "mean"),
        ((2, 0, 4), None, "cls"),
        ((2, 3, 4), np.ones((2, 4)), "mean"),
        ((2, 3, 4), np.array([[1, 1, 1], [0, 0, 0]]), "mean"),
        ((2, 3, 4), np.zeros((2, 3)), "last"),
    ],
)
def test_what_cannot_be_pooled_is_a_named_error(shape, mask, pooling):
    assert code_of(pool, np.ones(shape), mask, pooling) == "IB-584"


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_vectors_without_a_direction_are_faults(bad):
    found = embedded([[1, 2], [bad, bad]])
    (fault,) = found.faults
    assert fault.startswith("sample 1: its embedding")


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_any_length_has_the_same_direction(size):
    np.testing.assert_allclose(embedded([[3 * size, 4 * size]]).vectors, [[0.6, 0.8]])


def test_nothing_and_different_widths():
    assert code_of(embed, []) == "IB-584"
    assert code_of(embed, [np.ones((1, 2)), np.ones((1, 3))]) == "IB-584"
    assert code_of(cosines, embedded([[1, 2]]), embedded([[1, 2, 3]])) == "IB-584"


def test_the_null_is_the_mean_cosine_of_different_samples():
    found = embedded(RNG.normal(0, 1, (9, 5)))
    every = found.vectors @ found.vectors.T
    assert null_cosine(found) == pytest.approx(every[~np.eye(9, dtype=bool)].mean())
    assert null_cosine(embedded([[1, 2]])) is None


@pytest.mark.parametrize("block", [3, 512])
def test_recall_against_a_plain_loop(block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    reference = embedded(RNG.normal(0, 1, (20, 6)))
    candidate = embedded(reference.vectors + RNG.normal(0, 0.3, (20, 6)))
    shares = []
    for query in range(20):
        others = [i for i in range(20) if i != query]

        def nearest(side, query=query, others=others):
            to_all = side.vectors @ side.vectors[query]
            return set(sorted(others, key=lambda other: -to_all[other])[:4])

        shares.append(len(nearest(reference) & nearest(candidate)) / 4)
    share, worst = recall_at(reference, candidate, 4)
    assert share == pytest.approx(np.mean(shares))
    assert 0 < share < 1
    assert worst == int(np.argmin(shares))


def test_recall_of_itself_is_all_and_ties_do_not_count_against_anyone():
    found = embedded(RNG.normal(0, 1, (15, 4)))
    assert recall_at(found, found, 3)[0] == 1.0
    twins = np.repeat(RNG.normal(0, 1, (5, 8)), 4, axis=0)  # each has three others like it
    noisy = embedded(twins + RNG.normal(0, 1e-9, twins.shape))
    assert recall_at(embedded(twins), noisy, 2)[0] == 1.0


def test_a_random_ranking_finds_what_chance_finds():
    shares = [
        recall_at(embedded(RNG.normal(0, 1, (40, 8))), embedded(RNG.normal(0, 1, (40, 8))), 10)[0]
        for _ in range(10)
    ]
    assert np.mean(shares) == pytest.approx(10 / 39, abs=0.05)


@pytest.mark.parametrize("k", [0, 4, 5, 100])
def test_too_few_to_rank(k):
    found = embedded(RNG.normal(0, 1, (5, 3)))
    assert code_of(recall_at, found, found, k) == "IB-584"


@pytest.mark.parametrize("block", [2, 512])
def test_duplicates_are_pairs_counted_once(block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    reference = embedded([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [-1, 0]])
    candidate = embedded([[1, 0], [1, 0.01], [0, 1], [1, 1], [0, 1]])
    found = duplicates(reference, candidate, 0.9)
    assert (found.reference, found.candidate, found.common) == (2, 2, 1)
    assert found.agreement == pytest.approx(1 / 3)
    assert duplicates(reference, candidate, 1.1).agreement is None


def test_all_equal_vectors_are_one():
    assert is_all_one(embedded([[1, 2], [2, 4], [1, 2]]))
    assert not is_all_one(embedded([[1, 2], [2, 1]]))


FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=FLOATS),
    st.integers(0, 8),
    st.floats(-1, 1),
)
def test_any_vectors_give_finite_figures_or_a_named_error(vectors, k, threshold):
    found = embedded(vectors)
    assert np.isfinite(cosines(found, found)).all()
    bad = ~np.isfinite(vectors).all(axis=1) | (vectors == 0).all(axis=1)
    assert len(found.faults) == np.count_nonzero(bad)
    if 1 <= k < len(vectors) - 1:
        assert recall_at(found, found, k)[0] == 1.0
    else:
        assert code_of(recall_at, found, found, k) == "IB-584"
    agreement = duplicates(found, found, threshold).agreement
    assert agreement in (None, 1.0)
