"""Figures against definitions written out plainly, and a fault wherever a figure would lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.similarity import Similarity, compare
from pytest_inferbench.accuracy.vectors import cosine, pairwise_cosines, scale_for
from pytest_inferbench.errors import InferbenchError

RNG = np.random.default_rng(11)


def samples(*arrays, name="y"):
    return [{name: np.asarray(array)} for array in arrays]


def kinds(similarity: Similarity) -> list[str]:
    return [fault.kind for fault in similarity.faults]


def plain_cosine(a, b):
    a, b = np.ravel(a).astype(float), np.ravel(b).astype(float)
    return (a * b).sum() / math.sqrt((a * a).sum()) / math.sqrt((b * b).sum())


def test_every_figure_is_what_its_definition_says():
    size = 2 * 32768 + 17  # more than two blocks, the last of them short
    reference = RNG.normal(1.0, 1.0, (5, 1, size))
    candidate = reference + RNG.normal(0, 0.01, reference.shape)
    candidate[1, 0, 40000] += 3
    found = compare(samples(*reference), samples(*candidate), rtol=0.01, atol=0.1)
    found.check()
    y = found.outputs["y"]
    cosines = [plain_cosine(r, c) for r, c in zip(reference, candidate, strict=True)]
    assert y.cosine.min == pytest.approx(min(cosines), rel=1e-12)
    assert y.cosine.mean == pytest.approx(np.mean(cosines), rel=1e-12)
    assert y.cosine.p1 == pytest.approx(min(cosines), rel=1e-12)
    mean = reference.mean(axis=0)
    centred = [plain_cosine(r - mean, c - mean) for r, c in zip(reference, candidate, strict=True)]
    assert y.centred.min == pytest.approx(min(centred), rel=1e-12)
    assert y.centred.mean == pytest.approx(np.mean(centred), rel=1e-12)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    null = [plain_cosine(reference[i], reference[j]) for i, j in pairs]
    assert (y.null.max, y.null.mean) == pytest.approx((max(null), np.mean(null)), rel=1e-12)
    null = [plain_cosine(reference[i] - mean, reference[j] - mean) for i, j in pairs]
    assert y.centred_null.max == pytest.approx(max(null), rel=1e-9)
    assert y.centred_null.mean == pytest.approx(np.mean(null), rel=1e-9)
    error = np.abs(reference - candidate)
    assert y.max_error == pytest.approx(error.max())
    assert y.mean_error == pytest.approx(error.mean())
    largest = np.abs(reference).max(axis=(1, 2))
    assert y.relative_error == pytest.approx((error.max(axis=(1, 2)) / largest).max())
    power = (reference**2).sum(axis=(1, 2)) / (error**2).sum(axis=(1, 2))
    assert y.snr_db == pytest.approx(10 * np.log10(power.min()))
    outside = error > 0.1 + 0.01 * np.abs(reference)
    assert y.outside == outside.mean() > 0
    assert y.first_outside == tuple(np.argwhere(outside)[0]) == (1, 0, 40000)
    assert (y.samples, y.count) == (5, reference.size)


def test_equal_outputs_are_perfect_and_the_null_still_says_how_alike_inputs_are():
    reference = samples([1.0, 0.0], [0.6, 0.8])
    worst = compare(reference, reference).worst
    assert (worst.cosine.min, worst.max_error, worst.snr_db) == (1.0, 0.0, math.inf)
    assert (worst.outside, worst.first_outside) == (0.0, None)
    assert worst.null.max == pytest.approx(0.6)
    assert worst.centred_null.max == pytest.approx(-1.0)  # two samples lie opposite their mean


def test_worst_takes_each_figure_from_the_output_that_has_it():
    reference = [{"a": np.array([1.0, 2.0]), "b": np.array([100.0, 1.0])}]
    candidate = [{"a": np.array([2.0, 1.0]), "b": np.array([110.0, 1.0])}]
    found = compare(reference, candidate)
    assert found.cosine == found.outputs["a"].cosine.min == pytest.approx(0.8)
    assert found.max_error == found.outputs["b"].max_error == 10
    assert found.snr_db == found.outputs["a"].snr_db
    assert found.worst.output == "a"
    assert found.worst.centred is found.worst.null is found.worst.centred_null is None


@pytest.mark.parametrize(
    ("reference", "candidate", "kind"),
    [
        ([], [], "samples"),
        (samples([1.0]), [], "samples"),
        ([{}], [{}], "missing"),
        (samples([1.0]), samples([1.0], name="z"), "missing"),
        ([{}], samples([1.0]), "extra"),
        (samples([1.0, 2.0]), samples([[1.0, 2.0]]), "shape"),
        (samples([1.0, 2.0]), samples([1, 2]), "dtype"),
        (samples([1, 2]), samples([True, True]), "dtype"),
        (samples(["a"]), samples(["a"]), "dtype"),
        (samples([1j]), samples([1j]), "dtype"),
        (samples(np.empty((0, 6))), samples(np.empty((0, 6))), "empty"),
        (samples([1.0, np.nan]), samples([1.0, np.nan]), "non-finite"),
        (samples([1.0, 2.0]), samples([1.0, np.inf]), "non-finite"),
        (samples([1.0, -np.inf]), samples([1.0, -np.inf]), "non-finite"),
        (samples([0.0, 0.0]), samples([0.0, 0.0]), "zero"),
        (samples([1.0, 2.0]), samples([0.0, -0.0]), "zero"),
        (samples([False]), samples([False]), "zero"),
        (samples([1.0, 2.0]), samples([3.0, 3.0]), "constant"),
        (samples([1.0, 2.0], [3.0, 4.0]), samples([1.0, 2.0], [1.0, 2.0]), "stuck"),
        (samples([1e-200, 1e-200], [1, 2.0]), samples([1e-200, 1e-200], [1, 2.0]), "range"),
    ],
)
def test_what_cannot_be_compared_is_a_fault_and_has_no_figures(reference, candidate, kind):
    found = compare(reference, candidate)
    assert kind in kinds(found)
    assert not {fault.output for fault in found.faults} & set(found.outputs)
    for read in (found.check, lambda: found.worst, lambda: found.cosine, lambda: found.snr_db):
        with pytest.raises(InferbenchError, match="IB-501"):
            read()


def test_a_fault_says_how_many_elements_and_where():
    bad = np.ones((2, 3), np.float16)
    bad[1, 1:] = np.nan
    found = compare(samples(np.arange(6).reshape(2, 3) + np.float16(1)), samples(bad))
    message = "output 'y', sample 0: 2 of 6 elements of the candidate are NaN or infinite"
    assert str(found.faults[0]).startswith(message)
    assert "(1, 1)" in found.faults[0].message


def test_one_bad_sample_among_good_ones_takes_the_output_but_not_its_neighbour():
    good = [{"a": RNG.normal(size=4), "b": RNG.normal(size=4)} for _ in range(5)]
    bad = [dict(sample) for sample in good]
    bad[3]["a"] = np.full(4, np.nan)
    found = compare(good, bad)
    assert [(f.output, f.sample, f.kind) for f in found.faults] == [("a", 3, "non-finite")]
    assert set(found.outputs) == {"b"}


def test_a_long_list_of_faults_is_cut_and_counted():
    found = compare(samples(*np.ones((9, 2))), samples(*np.zeros((9, 2))))
    with pytest.raises(InferbenchError) as raised:
        found.check()
    assert raised.value.message.count("all zero") == 5
    assert "4 more" in raised.value.hint


def test_integers_are_compared_exactly_where_float64_cannot():
    reference = np.array([2**60, -(2**63), 5], np.int64)
    found = compare(samples(reference), samples(reference + np.array([1, 0, 0])), rtol=0, atol=0)
    assert (found.max_error, found.worst.first_outside) == (1.0, (0, 0))
    far = compare(samples(np.array([2**63 - 1, 1])), samples(np.array([-(2**63), 1])))
    assert far.max_error == 2.0**64


def test_booleans_count_as_0_and_1():
    found = compare(samples([True, True, False]), samples([True, False, False]))
    assert found.cosine == pytest.approx(math.sqrt(0.5))
    assert found.worst.outside == pytest.approx(1 / 3)


@pytest.mark.parametrize("magnitude", [1e-307, 1e-45, 1e-20, 1.0, 6e4, 1e38, 1e300, 1e308])
def test_the_direction_does_not_depend_on_the_magnitude(magnitude):
    reference, candidate = np.array([3.0, 4.0, -1.0]) / 4, np.array([3.0, -4.0, 1.0]) / 4
    found = compare(
        samples(reference * magnitude, magnitude * candidate[::-1]),
        samples(candidate * magnitude, magnitude * candidate[::-1]),
    )
    assert found.outputs["y"].cosine.min == pytest.approx(-8 / 26, rel=1e-6)
    assert found.worst.relative_error == pytest.approx(2.0, rel=1e-6)
    assert found.snr_db == pytest.approx(10 * math.log10(26 / 68), rel=1e-6)


def test_half_precision_is_summed_in_double():
    reference = np.full(100_000, 60_000, np.float16)
    reference[0] = 1
    found = compare(samples(reference), samples(reference))
    assert found.cosine == 1.0


def test_samples_of_different_shapes_have_no_mean_and_no_null():
    reference = samples([1.0, 2.0], [1.0, 2.0, 3.0])
    worst = compare(reference, reference).worst
    assert worst.centred is worst.null is worst.centred_null is None


def test_an_output_that_never_varies_has_no_centred_cosine():
    reference = samples(*[[0.1, 0.2, 0.3]] * 7)  # their mean is off by rounding
    worst = compare(reference, reference).worst
    assert worst.centred is worst.centred_null is None
    assert worst.null.max == pytest.approx(1.0)


def test_a_candidate_at_the_mean_has_centred_cosine_zero_not_nan():
    reference = samples([1.0, 3.0], [3.0, 1.0], [2.0, 5.0])
    candidate = samples([2.0, 3.0], [3.0, 1.0], [2.0, 5.0])
    assert compare(reference, candidate).outputs["y"].centred.min == 0.0


def test_a_tolerance_that_is_no_number_lets_nothing_in():
    reference = samples([1.0, 2.0])
    assert compare(reference, reference, rtol=math.nan).worst.outside == 1.0


def test_the_first_percentile_is_a_value_that_a_sample_had():
    angles = np.linspace(0, 1, 201)
    reference = samples(*np.tile([1.0, 0.0], (201, 1)))
    candidate = samples(*np.stack([np.cos(angles), np.sin(angles)], axis=1))
    y = compare(reference, candidate).outputs["y"]
    assert (y.cosine.min, y.cosine.p1) == pytest.approx((np.cos(1.0), np.cos(angles[-3])))


def test_the_null_of_many_samples_is_taken_from_first_to_last():
    vectors = [np.eye(100)[i] for i in range(100)]
    vectors[99] = vectors[0]
    found = pairwise_cosines(vectors, None, 1.0)
    assert len(found) == 32 * 31 / 2
    assert (found == 1.0).sum() == 1


FLOATS = st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(dtype, (3, 4), elements=st.floats(width=16))
)
FINITE = hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=300, deadline=None)
@given(FLOATS | FINITE, hnp.arrays(np.float64, (3, 4), elements=st.floats()) | FINITE)
def test_either_a_fault_or_finite_figures(reference, candidate):
    found = compare(samples(*reference), samples(*candidate))
    assert bool(found.faults) != bool(found.outputs)
    for y in found.outputs.values():
        assert -1 <= y.cosine.min <= y.cosine.p1 <= 1
        assert y.cosine.min <= y.cosine.mean + 1e-12
        assert y.max_error >= y.mean_error * (1 - 1e-12) >= 0
        assert not math.isnan(y.snr_db)
        assert 0 <= y.outside <= 1
        for extra in (y.centred, y.null, y.centred_null):
            assert extra is None or all(math.isfinite(v) for v in vars(extra).values())


@given(st.floats(min_value=5e-324, max_value=1.7e308))
def test_scaled_values_have_squares(value):
    assert 1e-61 < (value * scale_for(value)) ** 2 < 1e121


def test_nothing_is_like_a_vector_without_direction():
    assert cosine(0.0, 0.0, 1.0) == 0.0
