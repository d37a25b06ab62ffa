"""Scores against pycocotools called directly, and degenerate inputs to it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy import coco_judge
from pytest_inferbench.accuracy.coco import AREAS, IOUS, evaluate
from pytest_inferbench.accuracy.ground_truth import parse_ground_truth
from pytest_inferbench.errors import InferbenchError


def none_for_absent(value):
    return None if value == -1 else value


@pytest.mark.parametrize("seed", range(12))
def test_scores_equal_pycocotools_to_the_last_digit(
    scenes, pycocotools_alone, tmp_path, seed, capsys
):
    scene = scenes(seed, images=4 + seed, classes=1 + seed % 4)
    found = scene.detect()
    scores = evaluate(scene.truth, found)
    assert capsys.readouterr().out == ""
    judge = pycocotools_alone(scene.dataset, found, tmp_path)
    stats = [none_for_absent(value) for value in judge.stats[:6]]
    ours = [scores.map, scores.map50, scores.map75, scores.small, scores.medium, scores.large]
    assert ours == stats
    assert scores.images == len(scene.image_ids)
    for k in range(scene.classes):
        table = judge.eval["precision"][:, :, k, 0, 2]
        expected = table[table > -1].mean() if (table > -1).any() else None
        assert scores.per_class[f"class-{k}"] == expected
        if expected is not None:
            assert scores.ap(label=f"class-{k}") == expected
            assert scores.ap("all", 0.9, f"class-{k}") == table[8].mean()
    named = [("small", None), ("all", 0.5), ("all", None), ("large", None)]
    for area, iou in named:
        index = {("all", None): 0, ("all", 0.5): 1, ("small", None): 3, ("large", None): 5}
        if stats[index[area, iou]] is not None:
            assert scores.ap(area=area, iou=iou) == stats[index[area, iou]]


def test_an_object_whose_id_is_0_can_be_found(scenes, make_detections):
    scene = scenes(1)
    scene.dataset["annotations"] = [
        {"id": 0, "image_id": 7, "category_id": 10, "bbox": [10, 10, 50, 50], "iscrowd": 0}
    ]
    found = make_detections(scene.image_ids, [(7, [10, 10, 60, 60], 0.9, 0)])
    assert evaluate(scene.truth, found).map == pytest.approx(1.0)


def test_perfect_detections_score_1_and_absent_sizes_and_classes_are_none(scenes, make_detections):
    scene = scenes(1)
    scene.dataset["annotations"] = [
        {"id": i, "image_id": image, "category_id": 20, "bbox": [10, 10, 20, 20]}
        for i, image in enumerate(scene.image_ids[:3])
    ]
    rows = [(image, [10, 10, 30, 30], 0.9, 1) for image in scene.image_ids[:3]]
    scores = evaluate(scene.truth, make_detections(scene.image_ids, rows))
    assert scores.map == scores.small == scores.map50 == pytest.approx(1.0)
    assert scores.medium is scores.large is None
    assert scores.per_class == {"class-0": None, "class-1": pytest.approx(1.0), "class-2": None}
    for part in ({"area": "large"}, {"label": "class-0"}):
        with pytest.raises(InferbenchError, match="IB-532"):
            scores.ap(**part)


def test_a_part_that_does_not_exist_is_named_with_what_does(scenes):
    scores = evaluate(scenes(1).truth, scenes(1).detect())
    with pytest.raises(InferbenchError, match="did you mean 'class-1'") as raised:
        scores.ap(label="clas-1")
    assert "class-2" in raised.value.hint
    with pytest.raises(InferbenchError, match="no area 'tiny'"):
        scores.ap(area="tiny")
    with pytest.raises(InferbenchError, match=r"no IoU 0\.51"):
        scores.ap(iou=0.51)
    assert all(0 <= scores.ap(area, iou) <= 1 for area in AREAS for iou in IOUS)


def test_no_detections_score_0_not_nothing(scenes, make_detections):
    scene = scenes(2)
    scores = evaluate(scene.truth, make_detections(scene.image_ids, []))
    assert (scores.map, scores.map50, scores.ap(area="medium")) == (0.0, 0.0, 0.0)


def test_only_crowds_is_no_score(scenes, make_detections):
    scene = scenes(2, crowds=1.0)
    assert evaluate(scene.truth, scene.detect()).map is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((7, [0, 0, 9, 9], np.nan, 0), "not finite"),
        ((7, [0, 0, np.inf, 9], 0.5, 0), "not finite"),
        ((7, [9, 0, 0, 9], 0.5, 0), "inside out"),
        ((7, [0, 0, 9, 9], 0.5, 3), "class 3, and scenes.json has 3 categories"),
        ((7, [0, 0, 9, 9], 0.5, -1), "class -1"),
        ((8, [0, 0, 9, 9], 0.5, 0), "and 1 others"),
    ],
)
def test_detections_that_do_not_fit_are_an_error(scenes, make_detections, row, message):
    scene = scenes(2)
    found = make_detections(scene.image_ids, [(7, [0, 0, 9, 9], 0.5, 0), row])
    with pytest.raises(InferbenchError, match=message) as raised:
        evaluate(scene.truth, found)
    assert raised.value.code == "IB-531"


def test_a_part_of_the_images_is_scored_only_against_that_part(scenes, make_detections):
    scene = scenes(3)
    found = make_detections(scene.image_ids[:5], [])
    with pytest.raises(InferbenchError, match="5 of the 12 images") as raised:
        evaluate(scene.truth, found)
    assert "first(limit)" in raised.value.hint
    assert evaluate(scene.truth.first(5), found).images == 5


def test_ten_thousand_boxes_are_scored(scenes, make_detections):
    scene = scenes(4)
    image = scene.annotations[0]["image_id"]
    x, y, w, h = scene.annotations[0]["bbox"]
    label = scene.annotations[0]["category_id"] // 10 - 1
    rows = [(image, [0, 0, 1, 1], 0.5, label)] * 9_999 + [(image, [x, y, x + w, y + h], 1, label)]
    scores = evaluate(scene.truth, make_detections(scene.image_ids, rows))
    assert 0 < scores.ap(label=f"class-{label}") < 1


def test_without_pycocotools_the_extra_is_named(scenes, monkeypatch):
    scene = scenes(1)
    found = scene.detect()
    coco_judge.the_judge.cache_clear()
    for name in ("pycocotools", "faster_coco_eval"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InferbenchError, match=r"pytest-inferbench\[coco\]") as raised:
        evaluate(scene.truth, found)
    assert raised.value.code == "IB-534"


BOX = st.tuples(*[st.floats(0, 300)] * 4).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    objects=st.lists(
        st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2, 3]), st.integers(1, 200)),
        max_size=5,
    ),
    rows=st.lists(
        st.tuples(st.sampled_from([1, 2]), BOX, st.floats(0, 1), st.integers(0, 2)), max_size=8
    ),
)
def test_any_scene_has_a_score_or_an_error(make_detections, objects, rows):
    text = json.dumps(
        {
            "images": [{"id": i, "file_name": str(i)} for i in (1, 2)],
            "categories": [{"id": i, "name": str(i)} for i in (1, 2, 3)],
            "annotations": [
                {"id": i, "image_id": image, "category_id": category, "bbox": [5, 5, size, size]}
                for i, (image, category, size) in enumerate(objects)
            ],
        }
    )
    if not objects:
        with pytest.raises(InferbenchError, match="IB-522"):
            parse_ground_truth(text, "x")
        return
    scores = evaluate(parse_ground_truth(text, "x"), make_detections([1, 2], rows))
    assert 0 <= scores.map <= 1
    present = {str(category) for _, category, _ in objects}
    assert {name for name, ap in scores.per_class.items() if ap is not None} == present
