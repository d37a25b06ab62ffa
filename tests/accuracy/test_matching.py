"""Matches against those of `COCOeval.evaluateImg`, image by image and range by range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy.coco_judge import RANGES, THRESHOLDS
from pytest_inferbench.accuracy.matching import Found, Objects, match

cocoeval = pytest.importorskip("pycocotools.cocoeval")
mask = pytest.importorskip("pycocotools.mask")


def overlaps(found, objects, crowd):
    return mask.iou(found, objects, crowd.tolist())


def columns(rows, fields):
    taken = [np.array([row[i] for row in rows]) for i in range(fields)]
    return taken[0].astype(np.int64), taken[1].reshape(-1, 4).astype(float)


def objects_of(rows):
    """Rows of image, box, share of the box that is its area, crowd."""
    image, boxes = columns(rows, 4)
    shares = np.array([row[2] for row in rows], float)
    return Objects(
        image, boxes, boxes[:, 2] * boxes[:, 3] * shares, np.array([row[3] for row in rows], bool)
    )


def found_of(rows):
    """Rows of image, box, score."""
    image, boxes = columns(rows, 3)
    return Found(image, boxes, boxes[:, 2] * boxes[:, 3], np.array([r[2] for r in rows], float))


def in_a_loop(objects, found, images):
    """Return what pycocotools finds in each image and range; None where there is nothing."""
    judge = cocoeval.COCOeval(iouType="bbox")
    for number, (image, box, area, crowd) in enumerate(zip(*objects, strict=True), start=1):
        row = {"id": number, "bbox": box, "area": area, "iscrowd": int(crowd), "ignore": crowd}
        judge._gts[image, 1].append(row)
    for number, (image, box, area, score) in enumerate(zip(*found, strict=True), start=1):
        row = {"id": number, "bbox": box, "area": area, "score": score}
        judge._dts[image, 1].append(row)
    judge.ious = {(image, 1): judge.computeIoU(image, 1) for image in range(images)}
    return {
        (image, number): judge.evaluateImg(image, 1, area, 100)
        for image in range(images)
        for number, area in enumerate(judge.params.areaRng)
    }


def check(objects, found, images):
    ours = match(objects, found, overlaps, THRESHOLDS, RANGES)
    for (image, area), theirs in in_a_loop(objects, found, images).items():
        mine, there = ours.image == image, ours.object_image == image
        if theirs is None:
            assert not mine.any()
            assert not there.any()
            continue
        assert ours.scores[mine].tolist() == theirs["dtScores"]
        assert (ours.matched[area][:, mine] == (theirs["dtMatches"] > 0)).all()
        assert (ours.ignored[area][:, mine] == theirs["dtIgnore"]).all()
        assert sorted(ours.object_ignored[area][there]) == sorted(theirs["gtIgnore"])
    return ours


# Few places and sizes, so that boxes coincide, tie and touch a threshold or a range's end.
BOX = st.tuples(*[st.sampled_from([0, 1, 4, 10])] * 2, *[st.sampled_from([8, 16, 20, 32, 96])] * 2)
OBJECT = st.tuples(st.integers(0, 2), BOX, st.sampled_from([0.3, 1.0]), st.booleans())
DETECTION = st.tuples(st.integers(0, 2), BOX, st.sampled_from([0.0, 0.2, 0.5, 0.9]))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OBJECT, max_size=12), st.lists(DETECTION, max_size=20))
def test_matches_are_those_of_pycocotools(objects, found):
    check(objects_of(objects), found_of(found), images=3)


@pytest.mark.parametrize("seed", range(5))
def test_crowded_images_and_more_than_a_hundred_detections(seed):
    rng = np.random.default_rng(seed)
    boxes = rng.integers(0, 60, (40, 2)).tolist()
    sides = rng.integers(20, 120, (40, 2)).tolist()
    objects = [
        (int(rng.integers(2)), (*box, *side), 1.0, rng.random() < 0.1)
        for box, side in zip(boxes, sides, strict=True)
    ]
    found = [
        (
            int(rng.integers(2)),
            tuple(np.add(objects[i % 40][1], rng.integers(-3, 4, 4)).tolist()),
            float(rng.integers(0, 30)) / 30,
        )
        for i in range(300)
    ]
    ours = check(objects_of(objects), found_of(found), images=2)
    assert [np.count_nonzero(ours.image == image) for image in (0, 1)] == [100, 100]


def test_ten_thousand_objects_and_detections_in_one_image():
    rng = np.random.default_rng(0)
    corners, sides = rng.uniform(0, 4000, (10_000, 2)), rng.uniform(20, 60, (10_000, 2))
    boxes = np.concatenate([corners, sides], axis=1)
    areas, image = sides[:, 0] * sides[:, 1], np.zeros(10_000, np.int64)
    scores = rng.random(10_000)
    ours = match(
        Objects(image, boxes, areas, np.zeros(10_000, bool)),
        Found(image, boxes, areas, scores),
        overlaps,
        THRESHOLDS,
        RANGES,
    )
    assert ours.scores.tolist() == np.sort(scores)[::-1][:100].tolist()
    assert ours.matched[0].all()
