"""The drop's own accumulation against COCOeval's, and its interval against what it promises."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_inferbench.accuracy.coco import evaluate
from pytest_inferbench.accuracy.detection import Detections
from pytest_inferbench.accuracy.drop import map_drop, resampled_map
from pytest_inferbench.accuracy.ground_truth import parse_ground_truth
from pytest_inferbench.errors import InferbenchError


@pytest.mark.parametrize("seed", range(20))
def test_every_image_once_is_the_map_of_pycocotools(scenes, seed):
    scene = scenes(seed, images=5 + seed, classes=1 + seed % 5, crowds=0.2)
    scores = evaluate(scene.truth, scene.detect())
    once = resampled_map(scores.matches, np.ones((1, scores.images)))
    assert once[0] == pytest.approx(scores.map, abs=1e-9)


def repeated(scene, found, weights):
    """Return the annotations and detections of a resample, each image as often as it was drawn."""
    data = {**scene.dataset, "images": [], "annotations": []}
    rows: list[tuple[int, int]] = []
    for image, weight in zip(sorted(scene.image_ids), weights, strict=True):
        for _ in range(int(weight)):
            new = len(data["images"]) + 1
            data["images"].append({"id": new, "file_name": f"{new}.png"})
            data["annotations"] += [
                {**a, "image_id": new, "id": f"{new}-{a['id']}"}
                for a in scene.annotations
                if a["image_id"] == image
            ]
            rows += [(new, int(row)) for row in np.flatnonzero(found.image_ids == image)]
    for number, annotation in enumerate(data["annotations"]):
        annotation["id"] = number
    chosen = np.array([row for _, row in rows], np.int64)
    return parse_ground_truth(json.dumps(data), "resample"), Detections(
        images=tuple(image["id"] for image in data["images"]),
        image_ids=np.array([new for new, _ in rows], np.int64),
        boxes_xyxy=found.boxes_xyxy[chosen],
        scores=found.scores[chosen],
        labels=found.labels[chosen],
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_resample_is_the_map_of_its_images_written_out(scenes, seed):
    scene = scenes(seed, images=8)
    found = scene.detect(digits=12)  # without ties, whose order a resample may change
    scores = evaluate(scene.truth, found)
    draws = np.random.default_rng(seed).multinomial(8, [1 / 8] * 8, 4).astype(float)
    ours = resampled_map(scores.matches, draws)
    for weights, value in zip(draws, ours, strict=True):
        assert evaluate(*repeated(scene, found, weights)).map == pytest.approx(value, abs=1e-9)


def test_a_resample_without_objects_has_no_map(scenes):
    scene = scenes(0)
    scores = evaluate(scene.truth, scene.detect())
    assert np.isnan(resampled_map(scores.matches, np.zeros((2, scores.images)))).all()


def test_blocks_of_resamples_change_nothing(scenes, monkeypatch):
    scene = scenes(0)
    scores = evaluate(scene.truth, scene.detect())
    weights = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, 9).astype(float)
    whole = resampled_map(scores.matches, weights)
    monkeypatch.setattr("pytest_inferbench.accuracy.drop._CELLS", 1)
    assert resampled_map(scores.matches, weights).tolist() == whole.tolist()


def test_the_same_detections_drop_nothing_at_all(scenes):
    scene = scenes(5, images=30)
    scores = evaluate(scene.truth, scene.detect())
    found = map_drop(scores, scores)
    assert (found.drop, found.low, found.high, found.worst_images) == (0.0, 0.0, 0.0, ())
    assert set(found.per_class.values()) == {0.0}


def test_a_worse_candidate_drops_and_a_better_one_rises(scenes):
    scene = scenes(6, images=60)
    good, bad = (evaluate(scene.truth, scene.detect(noise)) for noise in (1.0, 25.0))
    down, up = map_drop(good, bad), map_drop(bad, good)
    assert down.drop == good.map - bad.map > 0.1
    assert 0 < down.low < down.drop < down.high
    assert (up.drop, up.low, up.high) == pytest.approx((-down.drop, -down.high, -down.low))
    assert down.per_class["class-1"] == good.per_class["class-1"] - bad.per_class["class-1"]
    assert (down.resamples, down.confidence, down.images) == (300, 0.95, 60)


def test_the_seed_decides_and_more_confidence_is_wider(scenes):
    scene = scenes(7, images=40)
    a, b = (evaluate(scene.truth, scene.detect()) for _ in range(2))
    first = map_drop(a, b, resamples=80)
    assert map_drop(a, b, resamples=80) == first
    assert map_drop(a, b, resamples=80, seed=1) != first
    wide = map_drop(a, b, resamples=80, confidence=0.99)
    assert wide.low < first.low < first.high < wide.high


def test_an_interval_of_equal_models_holds_zero_about_as_often_as_it_says(scenes):
    inside = 0
    for seed in range(40):
        scene = scenes(seed, images=30, classes=2)
        a, b = (evaluate(scene.truth, scene.detect(strays=3)) for _ in range(2))
        found = map_drop(a, b, resamples=100, confidence=0.9)
        inside += found.low <= 0 <= found.high
    assert inside >= 30  # 36 expected; fewer than 30 once in 500 if the promise holds


def test_the_image_that_lost_its_objects_comes_first(scenes):
    scene = scenes(8)
    found = scene.detect(noise_px=0.1, strays=1)
    victim = scene.annotations[0]["image_id"]
    keep = found.image_ids != victim
    lost = Detections(
        found.images,
        found.image_ids[keep],
        found.boxes_xyxy[keep],
        found.scores[keep],
        found.labels[keep],
    )
    drop = map_drop(evaluate(scene.truth, found), evaluate(scene.truth, lost))
    assert [loss.image_id for loss in drop.worst_images] == [victim]
    assert drop.worst_images[0].candidate == 0
    assert drop.worst_images[0].lost == drop.worst_images[0].reference > 0


def test_scores_that_cannot_be_paired_are_an_error(scenes, make_detections):
    scene = scenes(9)
    scores = evaluate(scene.truth, scene.detect())
    part = scene.truth.first(6)
    other = evaluate(part, make_detections([image.id for image in part.images], []))
    with pytest.raises(InferbenchError, match="not of the same images"):
        map_drop(scores, other)
    crowd = scenes(9, crowds=1.0)
    nothing = evaluate(crowd.truth, crowd.detect())
    with pytest.raises(InferbenchError, match="IB-533"):
        map_drop(nothing, nothing)


def test_one_image_has_no_interval(scenes):
    scene = scenes(3, images=1)
    scores = evaluate(scene.truth, scene.detect())
    with pytest.raises(InferbenchError, match="over 1 image has no interval"):
        map_drop(scores, scores)


def test_false_detections_count_against_an_image(scenes, make_detections):
    scene = scenes(1)
    scene.dataset["annotations"] = [
        {"id": i, "image_id": image, "category_id": 10, "bbox": [10, 10, 20, 20]}
        for i, image in enumerate((7, 14))
    ]
    right = [(image, [10, 10, 30, 30], 0.75, 0) for image in (7, 14)]
    half = (14, [10, 10, 30, 24.5], 0.5, 0)  # IoU 0.725: right at five thresholds of ten
    good = evaluate(scene.truth, make_detections(scene.image_ids, right))
    bad = evaluate(
        scene.truth,
        make_detections(scene.image_ids, [right[0], half, (7, [90, 90, 99, 99], 0.5, 0)]),
    )
    figures = {
        loss.image_id: (loss.reference, loss.candidate) for loss in map_drop(good, bad).worst_images
    }
    assert figures == {14: (0.75, pytest.approx(0.0)), 7: (0.75, pytest.approx(0.25))}


def test_draws_without_any_object_are_left_out(scenes, make_detections):
    scene = scenes(1, images=3)
    scene.dataset["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 10, "bbox": [10, 10, 20, 20]}
    ]
    good = evaluate(scene.truth, make_detections([7, 14, 21], [(7, [10, 10, 30, 30], 0.9, 0)]))
    bad = evaluate(scene.truth, make_detections([7, 14, 21], []))
    found = map_drop(good, bad, resamples=200)
    assert 100 < found.resamples < 200  # a draw misses one image of three 8 times in 27
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))
