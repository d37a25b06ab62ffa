"""Who scores: pycocotools' digits, by whichever package, or an error."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pytest_inferbench.accuracy import coco_judge, coco_probe
from pytest_inferbench.accuracy.coco import evaluate
from pytest_inferbench.accuracy.matching import Found, Objects
from pytest_inferbench.errors import InferbenchError


@pytest.fixture(autouse=True)
def asked_anew():
    ask = coco_judge.the_judge
    ask.cache_clear()
    yield
    ask.cache_clear()


def scene_of(classes):
    """Return a set of objects and detections as COCO's JSON and as detections."""
    from pytest_inferbench.accuracy.detection import Detections

    objects, rows = (coco_judge.rows(classes, which) for which in (0, 1))
    images = sorted({row["image_id"] for row in objects + rows})
    corners = np.array([row["bbox"] for row in rows])
    corners[:, 2:] += corners[:, :2]
    return {
        "images": [{"id": image, "file_name": str(image)} for image in images],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(len(classes))],
        "annotations": objects,
    }, Detections(
        images=tuple(images),
        image_ids=np.array([row["image_id"] for row in rows]),
        boxes_xyxy=corners,
        scores=np.array([row["score"] for row in rows]),
        labels=np.array([row["category_id"] - 1 for row in rows]),
    )


def test_what_is_recorded_of_the_fixed_set_is_what_pycocotools_says(pycocotools_alone, tmp_path):
    judge = pycocotools_alone(*scene_of(coco_probe.probe()), tmp_path)
    table = judge.eval["precision"][..., -1]
    assert coco_probe.digest(table) == coco_probe.PRECISION_SHA256
    assert np.array_equal(judge.params.iouThrs, coco_judge.THRESHOLDS)
    assert np.array_equal(judge.params.areaRng, coco_judge.RANGES)


def test_the_fixed_set_has_what_may_go_wrong():
    classes = coco_probe.probe()
    assert any(objects.crowd.any() for objects, _ in classes)
    assert [len(objects.image) > 0 for objects, _ in classes] == [True, True, True, False, True]
    assert [len(found.image) > 0 for _, found in classes] == [True, True, True, True, False]
    assert all(len(np.unique(f.scores)) < len(f.scores) for _, f in classes if len(f.image))
    areas = np.concatenate([objects.areas for objects, _ in classes])
    for low, high in coco_judge.RANGES:
        assert ((areas >= low) & (areas < high)).any()
    table, _ = coco_judge.score(classes)
    assert 0 < table[table > -1].mean() < 1


@pytest.mark.parametrize("seed", range(12))
def test_faster_coco_eval_gives_the_same_digits(
    scenes, pycocotools_alone, tmp_path, monkeypatch, seed
):
    pytest.importorskip("faster_coco_eval")
    scene = scenes(seed, images=4 + 2 * seed, classes=1 + seed % 4)
    found = scene.detect(noise_px=3.0 + seed)
    theirs = pycocotools_alone(scene.dataset, found, tmp_path).eval["precision"][..., -1]
    monkeypatch.setattr(coco_judge, "the_judge", coco_judge.FasterCocoEval)
    assert np.array_equal(evaluate(scene.truth, found).precision, theirs)


@pytest.mark.parametrize("hits", ["1", "10", "11", "101", "01", "110"])
def test_one_hit_of_one_detection_is_as_much_less_than_1_as_pycocotools_has_it(hits):
    pytest.importorskip("faster_coco_eval")
    boxes = np.array([[20 * i, 0, 10, 10] for i in range(len(hits))], float)
    right = np.array([hit == "1" for hit in hits])
    image, areas = np.zeros(len(hits), np.int64), np.full(len(hits), 100.0)
    scores = np.linspace(0.9, 0.1, len(hits))
    classes = [
        (
            Objects(image[right], boxes[right], areas[right], np.zeros(right.sum(), bool)),
            Found(image, boxes, areas, scores),
        )
    ]
    tables = [
        coco_judge.score_by(judge(), classes)[0]
        for judge in (coco_judge.Pycocotools, coco_judge.FasterCocoEval)
    ]
    assert np.array_equal(*tables)


def test_pycocotools_judges_where_both_are_installed():
    assert coco_judge.the_judge().name == "pycocotools"


def test_faster_coco_eval_stands_in_where_pycocotools_is_not_installed(scenes, monkeypatch):
    pytest.importorskip("faster_coco_eval")
    scene = scenes(3, images=30)
    found = scene.detect()
    of_record = evaluate(scene.truth, found)
    coco_judge.the_judge.cache_clear()
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert coco_judge.the_judge().name == "faster-coco-eval"
    stand_in = evaluate(scene.truth, found)
    assert stand_in == of_record
    for ours, theirs in zip(stand_in.matches, of_record.matches, strict=True):
        assert np.array_equal(ours.hits, theirs.hits)
        assert np.array_equal(ours.ignored, theirs.ignored)


@pytest.mark.parametrize("absent", [(), ("pycocotools",)])
def test_a_package_with_other_digits_than_were_recorded_is_refused(monkeypatch, absent):
    if absent:
        pytest.importorskip("faster_coco_eval")
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(coco_judge, "PRECISION_SHA256", coco_probe.digest(np.ones(3)))
    with pytest.raises(InferbenchError, match="other digits than pycocotools") as raised:
        coco_judge.the_judge()
    assert raised.value.code == "IB-535"
