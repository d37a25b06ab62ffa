"""Annotations that a judge could not rely on are refused, each by its name."""

from __future__ import annotations

import json

import pytest

from pytest_inferbench.accuracy.ground_truth import parse_ground_truth
from pytest_inferbench.errors import InferbenchError


def dataset():
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 3, "file_name": "c.png", "width": 64, "height": 48, "licence": 1},
            {"id": 1, "file_name": "a.png"},
        ],
        "categories": [{"id": 9, "name": "ring"}, {"id": 2, "name": "disc"}],
        "annotations": [
            {"id": 0, "image_id": 3, "category_id": 9, "bbox": [1, 2, 3.5, 4], "iscrowd": True},
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5], "area": 20},
        ],
    }


def test_sound_annotations_are_read_with_categories_by_id():
    truth = parse_ground_truth(json.dumps(dataset()), "x.json")
    assert [image.id for image in truth.images] == [3, 1]
    assert [category.name for category in truth.categories] == ["disc", "ring"]
    assert truth.annotations[0].bbox == [1, 2, 3.5, 4]
    assert (truth.annotations[0].area, truth.annotations[1].area) == (None, 20)


def set_annotation(**values):
    return lambda data: data["annotations"][0].update(values)


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (lambda d: d.update(images=[]), "IB-521", "no images"),
        (lambda d: d.pop("images"), "IB-521", "no images"),
        (lambda d: d.update(annotations=[]), "IB-522", "no annotations"),
        (lambda d: d.pop("categories"), "IB-522", "no categories"),
        (set_annotation(image_id=77), "IB-523", "annotation 0 is about image 77"),
        (set_annotation(category_id=77), "IB-523", "annotation 0 is about category 77"),
        (set_annotation(id=1), "IB-524", "annotation id 1"),
        (lambda d: d["images"][0].update(id=1), "IB-524", "image id 1"),
        (lambda d: d["images"][0].update(file_name="a.png"), "IB-524", "image file 'a.png'"),
        (lambda d: d["categories"][0].update(id=2), "IB-524", "category id 2"),
        (lambda d: d["categories"][0].update(name="disc"), "IB-524", "category name 'disc'"),
        (set_annotation(bbox=[1, 2, 0, 4]), "IB-525", "annotation 0 "),
        (set_annotation(bbox=[1, 2, 3, -4]), "IB-525", "annotation 0 "),
        (set_annotation(bbox=[1, 2, 3]), "IB-525", "annotation 0 "),
        (set_annotation(bbox=[]), "IB-525", "annotation 0 "),
        (set_annotation(area=-3), "IB-525", "annotation 0 "),
        (set_annotation(bbox=None), "IB-520", r"annotations\[0\].bbox"),
        (set_annotation(image_id="3"), "IB-520", r"annotations\[0\].image_id"),
        (lambda d: d["annotations"][0].pop("bbox"), "IB-520", "bbox"),
    ],
)
def test_damage_is_named(damage, code, message):
    data = dataset()
    damage(data)
    with pytest.raises(InferbenchError, match=message) as raised:
        parse_ground_truth(json.dumps(data), "x.json")
    assert raised.value.code == code
    assert "x.json" in raised.value.message


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"images": NaN}'])
def test_what_is_no_coco_json_is_said_to_be_none(text):
    with pytest.raises(InferbenchError, match=r"x\.json is not (COCO annotations|JSON)") as raised:
        parse_ground_truth(text, "x.json")
    assert raised.value.code == "IB-520"


def test_numbers_beyond_float_are_refused():
    text = json.dumps(dataset()).replace("3.5", "1e999")
    with pytest.raises(InferbenchError, match=r"IB-52[05]"):
        parse_ground_truth(text, "x.json")


def test_the_first_images_keep_only_their_annotations():
    truth = parse_ground_truth(json.dumps(dataset()), "x.json")
    assert truth.first(None) is truth
    part = truth.first(1)
    assert [image.id for image in part.images] == [3]
    assert [annotation.image_id for annotation in part.annotations] == [3]
    assert len(part.categories) == 2


def test_first_images_without_an_object_are_refused():
    data = dataset()
    data["annotations"].pop(0)
    truth = parse_ground_truth(json.dumps(data), "x.json")
    with pytest.raises(InferbenchError, match=r"its first 1 images.* has no annotations"):
        truth.first(1)
