"""Overlaps of masks and of classes, with each other and with the truth; the degenerate ones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.crops import IGNORED
from pytest_inferbench.accuracy.segmentation import fit_truth, null_overlap, overlap, segment
from pytest_inferbench.errors import InferbenchError

RNG = np.random.default_rng(3)


def code_of(call, *arguments):
    with pytest.raises(InferbenchError) as error:
        call(*arguments)
    return error.value.code


def test_classes_are_the_best_of_each_pixel_unless_there_is_a_threshold():
    scores = RNG.normal(0, 1, (1, 4, 6, 5))
    classes = segment([scores], None)
    assert classes.classes == 4
    np.testing.assert_array_equal(classes.maps[0], scores.argmax(1))
    masks = segment([scores], 0.5)
    assert masks.classes is None
    np.testing.assert_array_equal(masks.maps[0], scores[0] > 0.5)
    one = segment([scores[:, :1]], None)
    np.testing.assert_array_equal(one.maps[0], scores[0, :1] > 0)
    of_sam = segment([scores.reshape(1, 2, 2, 6, 5)], 0.0)
    assert of_sam.maps[0].shape == (4, 6, 5)
    whole = segment([scores.argmax(1)], None)
    np.testing.assert_array_equal(whole.maps[0], classes.maps[0])


def test_mean_iou_of_classes_against_a_plain_loop():
    first = [RNG.integers(0, 5, (1, 9, 8)) for _ in range(3)]
    second = [np.where(RNG.random(a.shape) < 0.8, a, (a + 1) % 4) for a in first]
    ious = {}
    for k in range(7):
        both = sum(((a == k) & (b == k)).sum() for a, b in zip(first, second, strict=True))
        either = sum(((a == k) | (b == k)).sum() for a, b in zip(first, second, strict=True))
        if either:
            ious[k] = both / either
    found = overlap(first, second, 7)
    assert found.per_class == pytest.approx(ious)
    assert found.mean == pytest.approx(np.mean(list(ious.values())))
    assert found.counted == 5


def test_mean_iou_of_masks_leaves_out_what_is_empty_on_both_sides():
    first, second = np.zeros((2, 3, 4, 4), bool)
    first[0, :2], second[0, 1:3] = True, True  # 4 in common of 12
    first[1, 0] = True  # lost altogether
    found = overlap([first], [second], None)
    assert found.mean == pytest.approx((4 / 12 + 0) / 2)
    assert (found.counted, found.empty) == (2, 1)
    assert overlap([np.zeros((1, 2, 2))], [np.zeros((1, 2, 2))], None) is None


def test_the_worst_sample_is_named():
    same, other = np.ones((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    other[0, 0] = True
    assert overlap([same, same, same], [same, other, same], None).worst_sample == 1
    empty = np.zeros((1, 4, 4), bool)
    assert overlap([empty, same], [empty, other], None).worst_sample == 1


def test_ignored_pixels_of_the_truth_count_for_nothing():
    found = segment([np.stack([np.zeros((4, 4)), np.ones((4, 4))])[None]], None)
    truth = np.ones((4, 4), np.int64)
    truth[:2] = 0
    half = overlap(fit_truth(found, [truth]), found.maps, 2)
    assert half.per_class == pytest.approx({0: 0.0, 1: 0.5})
    truth[:2] = IGNORED
    assert overlap(fit_truth(found, [truth]), found.maps, 2).mean == 1.0
    truth[:] = IGNORED
    assert overlap(fit_truth(found, [truth]), found.maps, 2) is None


def test_the_truth_is_brought_to_the_size_of_the_masks():
    found = segment([RNG.normal(0, 1, (1, 3, 4, 6))], None)
    assert fit_truth(found, [np.ones((40, 60), np.int64)])[0].shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("truth", "code"),
    [
        ([], "IB-581"),
        ([np.zeros((2, 4, 4), int)], "IB-587"),
        ([np.zeros(4, int)], "IB-587"),
        ([np.full((4, 4), 3)], "IB-582"),
        ([np.full((4, 4), -1)], "IB-582"),
    ],
)
def test_a_truth_that_does_not_fit(truth, code):
    assert code_of(fit_truth, segment([np.zeros((1, 3, 4, 4))], None), truth) == code


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [np.zeros(5)],
        [np.zeros((1, 2, 0, 4))],
        [np.zeros((1, 2, 4, 4)), np.zeros((1, 3, 4, 4))],
        [np.zeros((1, 2, 4, 4)), np.zeros((1, 1, 4, 4))],
    ],
)
def test_what_is_no_masks_is_a_named_error(outputs):
    assert code_of(segment, outputs, None) == "IB-587"


def test_masks_that_do_not_belong_together():
    assert code_of(overlap, [np.ones((1, 2, 2))], [np.ones((1, 2, 3))], None) == "IB-587"
    assert code_of(overlap, [], [], None) == "IB-587"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_faults(bad):
    scores = np.zeros((1, 2, 3, 3))
    scores[0, 1, 2, 2] = bad
    (fault,) = segment([np.zeros((1, 2, 3, 3)), scores], None).faults
    assert fault == "sample 1: 1 of 18 values are NaN or infinite"


def test_the_null_is_the_overlap_of_different_samples():
    left, right = np.zeros((2, 1, 4, 4))
    left[:, :, :2], right[:, :, 2:] = 1, 1
    assert null_overlap(segment([left[None], right[None]], None)) == 0.0
    assert null_overlap(segment([left[None], left[None]], None)) == 1.0
    assert null_overlap(segment([left[None]], None)) is None


SHAPES = st.tuples(st.just(1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None)
@given(st.data(), SHAPES, st.sampled_from([None, 0.0, 0.5]))
def test_any_scores_overlap_themselves_or_are_empty(data, shape, threshold):
    elements = st.floats(-1, 1, width=32)
    pair = [data.draw(hnp.arrays(np.float32, shape, elements=elements)) for _ in range(2)]
    found = segment(pair, threshold)
    mine = overlap(found.maps, found.maps, found.classes)
    assert mine is None or mine.mean == 1.0
    other = overlap(found.maps, found.maps[::-1], found.classes)
    assert (other is None) == (mine is None)
    assert other is None or 0 <= other.mean <= 1
