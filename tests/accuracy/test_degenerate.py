"""What no detector should put out, and what no annotations should hold: a number, or an error."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.accuracy.coco import evaluate
from pytest_inferbench.accuracy.detection import LAYOUTS, Detections, detect, nms
from pytest_inferbench.accuracy.drop import map_drop
from pytest_inferbench.accuracy.ground_truth import parse_ground_truth
from pytest_inferbench.accuracy.letterbox import Placement
from pytest_inferbench.errors import InferbenchError

WHOLE = Placement(scale_x=1, scale_y=1, pad_x=0, pad_y=0, width=100, height=100)
CLASSES = 3
WIDTHS = {"yolov8": 4 + CLASSES, "yolov5": 5 + CLASSES, "end-to-end": 6}

# values from all over, with the ones that trip comparisons more often than chance has them
VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, np.nan, np.inf, -np.inf, 1e-30, 3e38]),
    st.floats(-50, 150, width=32),
)


def truth_of(boxes, images=1):
    return parse_ground_truth(
        json.dumps(
            {
                "images": [{"id": i, "file_name": f"{i}.png"} for i in range(1, images + 1)],
                "categories": [{"id": k + 1, "name": f"class-{k}"} for k in range(CLASSES)],
                "annotations": [
                    {"id": i, "image_id": 1, "category_id": 1, "bbox": box}
                    for i, box in enumerate(boxes)
                ],
            }
        ),
        "degenerate.json",
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(LAYOUTS)).flatmap(
        lambda layout: st.tuples(
            st.just(layout),
            hnp.arrays(
                np.float32,
                st.tuples(st.integers(0, 12), st.just(WIDTHS[layout])),
                elements=VALUES,
            ),
        )
    )
)
def test_any_output_has_a_score_between_0_and_1_or_a_named_error(given_output):
    layout, table = given_output
    output = table.T[None] if layout == "yolov8" else table[None]
    try:
        found = detect([output], [WHOLE], [1], classes=CLASSES, layout=layout)
    except InferbenchError as error:
        if error.code == "IB-511":
            assert not np.isfinite(table).all()
        else:
            assert error.code == "IB-512"  # noqa: PT017
        return
    assert np.isfinite(table).all()
    sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
    assert (sides > 0).all()
    scores = evaluate(truth_of([[10, 10, 30, 30]]), found)
    assert 0 <= scores.map <= scores.map50 <= 1


SIDE = st.one_of(st.sampled_from([0.0, -1.0, 1e-30, 40.0]), st.floats(-5, 80))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 99]),
            st.sampled_from([1, 2, 3, 77]),
            st.tuples(*[st.floats(-20, 60)] * 2, SIDE, SIDE),
        ),
        max_size=4,
    )
)
def test_any_annotations_are_sound_or_a_named_error(rows):
    text = json.dumps(
        {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)],
            "categories": [{"id": k + 1, "name": f"class-{k}"} for k in range(CLASSES)],
            "annotations": [
                {"id": i, "image_id": image, "category_id": category, "bbox": box}
                for i, (image, category, box) in enumerate(rows)
            ],
        }
    )
    missing = any(image == 99 or category == 77 for image, category, _ in rows)
    flat = any(min(box[2:]) <= 0 for _, _, box in rows)
    expected = "IB-522" if not rows else "IB-523" if missing else "IB-525" if flat else None
    try:
        truth = parse_ground_truth(text, "degenerate.json")
    except InferbenchError as error:
        assert error.code == expected  # noqa: PT017
        return
    assert expected is None
    assert evaluate(truth, detections_of([])).map == 0


def detections_of(rows):
    """Rows of box, score, class, image."""
    return Detections(
        images=(1, 2),
        image_ids=np.array([row[3] for row in rows], np.int64),
        boxes_xyxy=np.array([row[0] for row in rows], float).reshape(-1, 4),
        scores=np.array([row[1] for row in rows], float),
        labels=np.array([row[2] for row in rows], np.int64),
    )


DETECTION = st.tuples(
    st.tuples(*[VALUES] * 4), VALUES, st.sampled_from([0, 1, 2]), st.sampled_from([1, 2])
)


@settings(max_examples=150, deadline=None)
@given(*[st.lists(DETECTION, max_size=6)] * 2)
def test_any_detections_have_a_score_and_a_drop_or_a_named_error(before, after):
    truth = truth_of([[10, 10, 30, 30], [50, 50, 20, 20]], images=2)
    scores = []
    for rows in (before, after):
        boxes = np.array([row[0] for row in rows], float).reshape(-1, 4)
        sound = np.isfinite(boxes).all() and all(np.isfinite(row[1]) for row in rows)
        sound = sound and bool((boxes[:, 2:] >= boxes[:, :2]).all())
        if not sound:
            with pytest.raises(InferbenchError, match="IB-531"):
                evaluate(truth, detections_of(rows))
            return
        scores.append(evaluate(truth, detections_of(rows)))
    assert all(0 <= each.map <= each.map50 <= 1 for each in scores)
    drop = map_drop(*scores, resamples=20)
    assert drop.drop == scores[0].map - scores[1].map
    assert -1 <= drop.low <= drop.high <= 1
    assert drop.per_class["class-1"] is None  # absent from the annotations
    assert all(np.isfinite(loss.lost) and loss.lost > 0 for loss in drop.worst_images)


def test_no_boxes_score_0():
    found = detect([np.zeros((1, 7, 0))], [WHOLE], [1], classes=CLASSES, layout="yolov8")
    assert (len(found), evaluate(truth_of([[10, 10, 30, 30]]), found).map) == (0, 0)


def test_no_ground_truth_is_an_error():
    with pytest.raises(InferbenchError, match="IB-522"):
        truth_of([])


def test_a_class_that_is_absent_has_no_score_and_takes_no_part_in_the_mean():
    rows = np.array([[10, 10, 40, 40, 0.9, 0], [50, 50, 60, 60, 0.8, 2]])
    found = detect([rows], [WHOLE], [1], classes=CLASSES, layout="end-to-end")
    scores = evaluate(truth_of([[10, 10, 30, 30]]), found)
    assert scores.map == pytest.approx(1)
    assert scores.per_class == {"class-0": pytest.approx(1), "class-1": None, "class-2": None}


def test_boxes_without_area_find_nothing_and_suppress_nothing():
    flat = [[10, 10, 10, 40, 0.99, 0], [40, 10, 10, 40, 0.98, 0], [20, 20, 20, 20, 0.97, 0]]
    rows = np.array([*flat, [10, 10, 40, 40, 0.9, 0]])
    found = detect([rows], [WHOLE], [1], classes=CLASSES, layout="end-to-end")
    assert (len(found), found.without_area) == (1, 3)
    assert evaluate(truth_of([[10, 10, 30, 30]]), found).map == pytest.approx(1)


def test_objects_without_area_are_refused_or_never_found():
    with contextlib.suppress(InferbenchError):
        found = detect([np.array([[5, 5, 9, 9, 1, 0]])], [WHOLE], [1], layout="end-to-end")
        assert evaluate(truth_of([[10, 10, 0, 0]]), found).map == 0


def test_ten_thousand_boxes_are_decoded_suppressed_and_scored():
    rng = np.random.default_rng(1)
    output = np.zeros((1, 4 + CLASSES, 10_000))
    output[0, :2] = rng.uniform(0, 100, (2, 10_000))
    output[0, 2:4] = rng.uniform(0, 60, (2, 10_000))
    output[0, 4:] = rng.random((CLASSES, 10_000)) * 0.5
    output[0, :, 77] = [25, 25, 30, 30, 0.99, 0, 0]
    found = detect([output], [WHOLE], [1], classes=CLASSES, layout="yolov8")
    assert len(found) == 300
    assert evaluate(truth_of([[10, 10, 30, 30]]), found).per_class["class-0"] == pytest.approx(1)


def test_an_annotation_that_names_a_missing_image_is_named():
    text = json.dumps(
        {
            "images": [{"id": 1, "file_name": "1.png"}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
                {"id": 6, "image_id": 99, "category_id": 1, "bbox": [1, 1, 5, 5]},
            ],
        }
    )
    with pytest.raises(InferbenchError, match=r"(?s)IB-52\d.*99"):
        parse_ground_truth(text, "x.json")


@pytest.mark.parametrize("seed", range(20))
def test_nms_equals_torchvision_on_random_boxes(seed):
    torch = pytest.importorskip("torch")
    try:
        from torchvision.ops import batched_nms
    except (ImportError, RuntimeError) as error:  # RuntimeError: made for another torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 800))
    corners = rng.uniform(0, 200, (count, 2)).astype(np.float32)
    sides = rng.uniform(0, 60, (count, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    scores = rng.permutation(count).astype(np.float32) / max(count, 1)  # without ties
    labels, iou = rng.integers(0, 4, count), float(rng.choice([0.3, 0.5, 0.7]))
    theirs = batched_nms(*map(torch.from_numpy, (boxes, scores, labels)), iou)
    assert nms(boxes, scores, labels, iou, count or 1).tolist() == theirs.tolist()
