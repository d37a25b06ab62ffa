"""Logits and normalised boxes against a plain reading of them, one query at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.detr import (
    LAYOUTS,
    columns_of,
    decode,
    detect,
    infer_layout,
    names_of,
)
from pytest_inferbench.accuracy.letterbox import Placement
from pytest_inferbench.errors import InferbenchError

HEIGHT, WIDTH = 480, 640


def plainly(logits, boxes, layout, placement, confidence, limit):
    """Return (score, label, corners on the image) of every candidate, one by one, best first."""
    found = []
    for query, (row, (cx, cy, w, h)) in enumerate(
        zip(logits.tolist(), boxes.tolist(), strict=True)
    ):
        if layout == "detr":
            powers = [math.exp(value - max(row)) for value in row]
            shares = [value / sum(powers) for value in powers[:-1]]
            scored = [max((share, -label) for label, share in enumerate(shares))]
        else:
            scored = [(1 / (1 + math.exp(-value)), -label) for label, value in enumerate(row)]
        corners = [(cx - w / 2) * WIDTH, (cy - h / 2) * HEIGHT]
        corners += [(cx + w / 2) * WIDTH, (cy + h / 2) * HEIGHT]
        own = []
        for value, scale, pad, most in zip(
            corners,
            [placement.scale_x, placement.scale_y] * 2,
            [placement.pad_x, placement.pad_y] * 2,
            [placement.width, placement.height] * 2,
            strict=True,
        ):
            own.append(min(max((value - pad) / scale, 0), most))
        found += [(score, query, -label, own, w > 0 and h > 0) for score, label in scored]
    found.sort(key=lambda each: -each[0])
    found = [each for each in found[:limit] if each[0] >= confidence]
    return [
        (score, label, own)
        for score, _, label, own, solid in found
        if solid and own[2] > own[0] and own[3] > own[1]
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(8))
def test_random_outputs_are_what_a_plain_reading_makes_of_them(layout, seed):
    rng = np.random.default_rng(seed)
    queries, classes = int(rng.integers(1, 120)), int(rng.integers(1, 12))
    logits = rng.normal(0, 3, (1, queries, classes + (layout == "detr"))).astype(np.float32)
    boxes = rng.random((1, queries, 4)).astype(np.float32)
    boxes[0, ::7, 2] = 0
    placement = Placement(scale_x=0.8, scale_y=0.75, pad_x=12, pad_y=30, width=700, height=500)
    limit, confidence = int(rng.integers(1, 400)), float(rng.choice([0.001, 0.3]))
    found = detect(
        [logits],
        [boxes],
        [placement],
        [7],
        input_size=(HEIGHT, WIDTH),
        category_ids=range(classes),
        layout=layout,
        confidence=confidence,
        max_detections=limit,
    )
    double = logits[0].astype(np.float64), boxes[0].astype(np.float64)
    expected = plainly(*double, layout, placement, confidence, limit)
    assert found.labels.tolist() == [label for _, label, _ in expected]
    np.testing.assert_allclose(found.scores, [score for score, *_ in expected], rtol=1e-12)
    np.testing.assert_allclose(
        found.boxes_xyxy, np.reshape([own for *_, own in expected], (-1, 4)), rtol=1e-9, atol=1e-9
    )
    assert set(found.image_ids.tolist()) <= {7}


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(0, 20), st.integers(1, 5)).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=st.floats(width=32)),
            hnp.arrays(np.float32, (shape[0], 4), elements=st.floats(width=32)),
        )
    ),
    st.sampled_from(sorted(LAYOUTS)),
)
def test_any_outputs_give_sound_boxes_or_a_named_error(outputs, layout):
    logits, boxes = outputs
    columns = range(logits.shape[1] - (layout == "detr"))
    finite = np.isfinite(logits).all() and np.isfinite(boxes).all()
    units = not boxes.size or -0.05 <= boxes.min() <= boxes.max() <= 1.05
    if not columns or not finite or not units:
        code = "IB-547" if not columns else "IB-511" if not finite else "IB-548"
        with pytest.raises(InferbenchError, match=code):
            decode(logits, boxes, layout, (HEIGHT, WIDTH), columns)
        return
    found = decode(logits - 1, boxes, layout, (HEIGHT, WIDTH), columns)
    assert np.isfinite(found.boxes_xyxy).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.labels.tolist()) <= set(columns)


def test_no_object_is_no_detection():
    logits = np.array([[0.0, 0.0, 12.0]])
    assert not len(decode(logits, np.full((1, 4), 0.5), "detr", (9, 9), range(2)).scores)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_of_any_size_overflow_nothing(layout):
    logits = np.array([[3e38, -3e38, -3e38]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = decode(logits, np.full((1, 4), 0.5), layout, (10, 20), range(2))
    assert (found.scores[0], found.labels[0]) == (1, 0)
    assert found.boxes_xyxy[0].tolist() == [5, 2.5, 15, 7.5]


def test_columns_may_be_category_ids():
    assert columns_of([1, 3, 90], 91) == [1, 3, 90]
    assert list(columns_of([1, 3, 90], 3)) == [0, 1, 2]
    logits = np.full((1, 92), -9.0)
    logits[0, 3] = 9.0
    found = decode(logits, np.full((1, 4), 0.5), "detr", (9, 9), [1, 3, 90])
    assert found.labels.tolist() == [1]
    for ids, width in (([1, 3, 90], 90), ([1, 2], 1), ([], 4)):
        with pytest.raises(InferbenchError, match="IB-547"):
            columns_of(ids, width)


@pytest.mark.parametrize(
    ("columns", "classes", "layout"), [(80, 80, "rt-detr"), (81, 80, "detr"), (2, 1, "detr")]
)
def test_the_columns_tell_the_layout(columns, classes, layout):
    assert infer_layout(columns, classes) == layout


def test_columns_that_tell_nothing_are_an_error():
    with pytest.raises(InferbenchError, match=r"IB-547.*92 columns.*80 classes"):
        infer_layout(92, 80)


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ({"logits": [1, 100, 92], "pred_boxes": [1, 100, 4]}, ("logits", "pred_boxes")),
        ({"a": [1, 100, 4], "b": ["n", 100, 3]}, ("b", "a")),
        ({"pred_boxes": [1, 100, 4], "scores": [1, 100, 4]}, ("scores", "pred_boxes")),
        ({"boxes": [1, 100, "d"], "logits": [1, 100, "c"]}, ("logits", "boxes")),
        ({"a": [1, 100, 4], "b": [1, 100, 4]}, None),
        ({"output0": [1, 84, 8400]}, None),
        ({"output0": [1, 116, 8400], "output1": [1, 32, 160, 160]}, None),
    ],
)
def test_logits_and_boxes_are_told_apart(outputs, names):
    assert names_of(outputs) == names


@pytest.mark.parametrize(
    ("logits", "boxes", "layout", "code", "message"),
    [
        ((5, 3), (4, 4), "rt-detr", "IB-547", r"\[5, 3\] and \[4, 4\]"),
        ((5, 3), (5, 5), "rt-detr", "IB-547", "queries, 4"),
        ((5, 3), (5, 4), "detr", "IB-547", "no object"),
        ((5, 3), (5, 4), "dert", "IB-510", "'dert'"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits, boxes, layout, code, message):
    with pytest.raises(InferbenchError, match=message) as raised:
        decode(np.zeros(logits), np.zeros(boxes), layout, (9, 9), range(3))
    assert raised.value.code == code


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 1])
def test_a_value_that_is_not_finite_is_an_error(value, where):
    outputs = [np.zeros((5, 3)), np.zeros((5, 4))]
    outputs[where][2, 1] = value
    with pytest.raises(InferbenchError, match=r"IB-511.*image 3 has 1 of"):
        decode(*outputs, "rt-detr", (9, 9), range(3), name="image 3")


def test_other_units_are_named():
    with pytest.raises(InferbenchError, match=r"IB-548.*320"):
        decode(np.zeros((5, 3)), np.full((5, 4), 320.0), "rt-detr", (9, 9), range(3))
    with pytest.raises(InferbenchError, match=r"IB-548.*probabilities"):
        decode(np.full((50, 3), 0.5), np.full((50, 4), 0.5), "rt-detr", (9, 9), range(3))


def test_outputs_and_images_must_pair_up():
    with pytest.raises(InferbenchError, match="IB-513"):
        detect([], [np.zeros((1, 4))], [], [], input_size=(9, 9), category_ids=[1])
