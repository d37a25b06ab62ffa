"""Raw outputs against boxes that are known, NMS against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.detection import LAYOUTS, decode, detect, infer_layout, nms
from pytest_inferbench.accuracy.letterbox import Placement
from pytest_inferbench.errors import InferbenchError

WHOLE = Placement(scale_x=1, scale_y=1, pad_x=0, pad_y=0, width=100, height=100)


def yolov8(boxes, classes=3):
    """Return [1, 4 + classes, anchors] from (cx, cy, w, h, {label: score})."""
    output = np.zeros((1, 4 + classes, len(boxes)), np.float32)
    for i, (*box, scores) in enumerate(boxes):
        output[0, :4, i] = box
        for label, score in scores.items():
            output[0, 4 + label, i] = score
    return output


def test_yolov8_is_centres_and_one_score_a_class():
    found = decode(
        yolov8([(50, 40, 20, 10, {2: 0.75, 0: 0.25}), (9, 9, 2, 2, {1: 0.0005})]), classes=3
    )
    assert found.boxes_xyxy.tolist() == [[40, 35, 60, 45]] * 2
    assert found.labels.tolist() == [0, 2]
    assert found.scores.tolist() == [0.25, 0.75]


def test_yolov5_multiplies_by_the_objectness():
    output = np.zeros((1, 9, 7), np.float16)
    output[0, 4] = [50, 40, 20, 10, 0.5, 0, 0.75]
    output[0, 5] = [50, 40, 20, 10, 0.0, 1, 1]
    found = decode(output, classes=2)
    assert found.boxes_xyxy.tolist() == [[40, 35, 60, 45]]
    assert (found.scores.tolist(), found.labels.tolist()) == ([0.375], [1])


def test_end_to_end_is_corners_and_its_padding_is_no_class():
    output = np.array([[[1, 2, 3, 4, 0.5, 2], [0, 0, 0, 0, 0, -1]]], np.float32)
    found = decode(output, "end-to-end", classes=3)
    assert found.boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert (found.scores.tolist(), found.labels.tolist()) == ([0.5], [2])


def test_the_leading_axis_may_be_missing():
    output = yolov8([(50, 40, 20, 10, {2: 0.75})] * 9)
    for ours, theirs in zip(decode(output), decode(output[0]), strict=True):
        assert ours.tolist() == theirs.tolist() != []


@pytest.mark.parametrize(
    ("shape", "classes", "layout"),
    [
        ((1, 84, 8400), 80, "yolov8"),
        ((1, 84, 8400), None, "yolov8"),
        ((1, 84, 21), 80, "yolov8"),
        ((1, 25200, 85), 80, "yolov5"),
        ((1, 25200, 85), None, "yolov5"),
        ((1, 300, 6), 80, "end-to-end"),
        ((1, 300, 6), 2, "end-to-end"),
        ((84, 8400), 80, "yolov8"),
    ],
)
def test_a_layout_that_only_one_shape_fits_is_found(shape, classes, layout):
    assert infer_layout(shape, classes) == layout


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((1, 300, 6), 1, "yolov5 and end-to-end"),
        ((1, 300, 6), None, "yolov5 and end-to-end"),
        ((1, 84, 84), None, "no known layout"),
        ((1, 85, 8400), 80, "no known layout"),
        ((1, 8400, 84), 80, "no known layout"),
        ((7,), None, "no known layout"),
    ],
)
def test_a_shape_that_none_or_several_fit_is_an_error(shape, classes, message):
    with pytest.raises(InferbenchError, match=message) as raised:
        infer_layout(shape, classes)
    assert raised.value.code == "IB-510"
    assert all(layout in raised.value.hint for layout in LAYOUTS)


@pytest.mark.parametrize(
    ("shape", "layout", "classes"),
    [
        ((1, 84, 99), "yolov8", 5),
        ((1, 4, 99), "yolov8", None),
        ((2, 84, 99), "yolov8", None),
        ((1, 99, 85), "yolov5", 5),
        ((1, 99, 7), "end-to-end", None),
        ((1, 84, 99), "yolov4", None),
    ],
)
def test_a_named_layout_must_fit_too(shape, layout, classes):
    with pytest.raises(InferbenchError, match="IB-510"):
        decode(np.zeros(shape, np.float32), layout, classes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 3, 4])
def test_a_value_that_is_not_finite_names_the_image(value, row):
    good = yolov8([(50, 40, 20, 10, {2: 0.75})] * 9)
    bad = good.copy()
    bad[0, row, 5] = value
    with pytest.raises(InferbenchError, match=r"image 17 has 1 of 63 values") as raised:
        detect([good, bad], [WHOLE] * 2, [16, 17], classes=3)
    assert raised.value.code == "IB-511"


@pytest.mark.parametrize("score", [-0.5, 1.5, 30.0])
def test_scores_that_are_no_probabilities_are_an_error(score):
    with pytest.raises(InferbenchError, match="sigmoid") as raised:
        decode(yolov8([(50, 40, 20, 10, {0: score})] * 9), "yolov8")
    assert raised.value.code == "IB-512"


@pytest.mark.parametrize("label", [-1, 1.5, 3])
def test_end_to_end_labels_that_are_no_classes_are_an_error(label):
    with pytest.raises(InferbenchError, match="IB-512"):
        decode(np.array([[[1, 2, 3, 4, 0.5, label]]]), "end-to-end", classes=3)


def slow_nms(boxes, scores, labels, iou, limit):
    """Greedy suppression as it is defined, pair by pair."""

    def overlap(a, b):
        shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(
            0, min(a[3], b[3]) - max(a[1], b[1])
        )
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / union if union > 0 else 0.0

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[j] or overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept[:limit]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 60).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, (n, 4), elements=st.integers(0, 12)),
            hnp.arrays(np.float64, n, elements=st.sampled_from([0.1, 0.3, 0.5, 0.9])),
            hnp.arrays(np.int64, n, elements=st.integers(0, 2)),
        )
    ),
    st.sampled_from([0.0, 0.3, 0.45, 0.7]),
    st.sampled_from([1, 5, 300]),
)
def test_nms_is_greedy_suppression_class_by_class(candidates, iou, limit):
    corners, scores, labels = candidates
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    kept = nms(boxes, scores, labels, iou, limit)
    assert kept.tolist() == slow_nms(boxes.tolist(), scores, labels, iou, limit)


def test_ten_thousand_boxes_are_few_in_the_end():
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 600, (10_000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 80, (10_000, 2))], axis=1)
    scores, labels = rng.random(10_000), rng.integers(0, 4, 10_000)
    kept = nms(boxes, scores, labels, 0.5, 300)
    assert len(kept) == 300
    best = np.sort(scores)[::-1][:1000]
    top = np.argsort(-scores)[: len(best)]
    assert kept.tolist() == top[slow_nms(boxes[top], scores[top], labels[top], 0.5, 300)].tolist()


def test_detections_are_in_pixels_of_the_original_and_clipped_to_it():
    placement = Placement(scale_x=0.5, scale_y=0.5, pad_x=10, pad_y=0, width=80, height=90)
    output = yolov8([(30, 20, 20, 10, {1: 0.5}), (50, 45, 10, 90, {0: 0.9})])
    found = detect([output], [placement], [4], classes=3)
    assert found.boxes_xyxy.tolist() == [[70, 0, 80, 90], [20, 30, 60, 50]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([0, 1], pytest.approx([0.9, 0.5]))
    assert (found.images, found.image_ids.tolist(), len(found)) == ((4,), [4, 4], 2)


def test_boxes_without_area_are_left_out_and_counted():
    output = yolov8(
        [
            (50, 50, -20, 10, {0: 0.9}),  # inside out
            (50, 50, 0, 10, {0: 0.8}),  # empty
            (250, 50, 20, 10, {0: 0.7}),  # empty once clipped to the image
            (50, 50, 20, 10, {0: 0.6}),
        ]
    )
    found = detect([output], [WHOLE], [1], classes=3)
    assert (found.scores.tolist(), found.without_area) == (pytest.approx([0.6]), 3)


def test_images_without_detections_are_remembered():
    empty = yolov8([(50, 40, 20, 10, {})] * 9)
    one = yolov8([(50, 40, 20, 10, {0: 0.5})])
    found = detect([empty, one, empty], [WHOLE] * 3, [9, 4, 7], classes=3)
    assert (found.images, found.image_ids.tolist()) == ((9, 4, 7), [4])
    none = detect([empty], [WHOLE], [9], classes=3)
    assert (len(none), none.boxes_xyxy.shape, none.images) == (0, (0, 4), (9,))


def test_end_to_end_outputs_are_past_their_nms():
    rows = [[10, 10, 30, 30, score, 0] for score in (0.3, 0.9, 0.5)]
    found = detect([np.array([rows])], [WHOLE], [1], layout="end-to-end", max_detections=2)
    assert found.scores.tolist() == [0.9, 0.5]
    found = detect(
        [yolov8([(20, 20, 20, 20, {0: s}) for s in (0.3, 0.9)])], [WHOLE], [1], classes=3
    )
    assert found.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(
    ("outputs", "placements", "ids"), [(1, 2, [1, 2]), (2, 1, [1, 2]), (2, 2, [1]), (2, 2, [1, 1])]
)
def test_outputs_placements_and_images_must_pair_up(outputs, placements, ids):
    with pytest.raises(InferbenchError, match="IB-513"):
        detect([yolov8([])] * outputs, [WHOLE] * placements, ids, layout="yolov8")


def test_the_confidence_is_the_smallest_score_that_counts():
    output = yolov8([(50, 40, 20, 10, {0: s}) for s in (0.0005, 0.002, 0.25, 0.5)])
    assert decode(output, "yolov8").scores.tolist() == pytest.approx([0.002, 0.25, 0.5])
    assert decode(output, "yolov8", confidence=0.25).scores.tolist() == [0.25, 0.5]
