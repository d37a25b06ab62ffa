"""What the first settings are made of: names, sizes, guesses, and text that reads back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pytest_inferbench.artifacts.inspect import ModelFacts, TensorFacts
from pytest_inferbench.initial.guess import Annotations, guess_task, layout_for
from pytest_inferbench.initial.names import name_models
from pytest_inferbench.initial.plan import Plan, PlannedModel
from pytest_inferbench.initial.sizes import SCALES, whole_shapes
from pytest_inferbench.initial.writing import quoted, settings_text
from pytest_inferbench.settings.convert import Problems
from pytest_inferbench.settings.find import parse
from pytest_inferbench.settings.names import check_name


def toml(text):
    return parse(text.encode())


RESERVED = ("ort-cpu", "fp16", "onnx-ops")
parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12)
paths = st.lists(parts, min_size=1, max_size=3).map(
    lambda names: PurePosixPath(*names[:-1], names[-1] + ".onnx")
)


@given(st.lists(paths, max_size=6, unique=True))
def test_every_model_has_a_name_of_its_own_that_settings_accept(found):
    names = name_models(found, RESERVED)
    assert len({name.lower() for name in names}) == len(found)
    problems = Problems()
    for name in names:
        check_name("models", name, RESERVED, problems)
    assert problems.lines() == []


def test_equal_names_are_told_apart_by_their_folders():
    found = ["a/net.onnx", "b/net.onnx", "x/Net.onnx", "one.onnx", "fp16.onnx", "é è.onnx"]
    assert name_models([PurePosixPath(each) for each in found], RESERVED) == [
        "a-net",
        "b-net",
        "x-Net",
        "one",
        "fp16-model",
        "e-e",
    ]


def facts(inputs, outputs):
    return ModelFacts(
        path=Path("net.onnx"),
        sha256="a" * 64,
        size_bytes=1,
        inputs=tuple(TensorFacts(*each) for each in inputs),
        outputs=tuple(TensorFacts(*each) for each in outputs),
        ir_version=10,
        opset=17,
        external_files=(),
    )


@dataclass(frozen=True)
class Input:
    name: str
    shape: tuple


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([Input("x", (1, 3, 64, 64))], {}),
        ([Input("x", ("batch", 3, 64, 64))], {}),
        ([Input("x", ("N", 3, "height", "width"))], {"x": (1, 3, 224, 224)}),
        ([Input("x", (-1, -1, -1, 3))], {"x": (1, 224, 224, 3)}),
        (
            [Input("ids", ("b", "seq")), Input("past", ("b", 4, "past_seq", 8)), Input("s", (1,))],
            {"ids": (1, 16), "past": (1, 4, 16, 8)},
        ),
        (
            [Input("ids", ("b", "seq")), Input("mask", ("b", "past + seq + 1"))],
            {"ids": (1, 16), "mask": (1, 33)},
        ),
        ([Input("scalar", ())], {}),
    ],
)
def test_free_dimensions_are_given_sizes_and_one_name_has_one_size(inputs, expected):
    found = whole_shapes(inputs)
    assert found.shapes == expected
    assert bool(found.chosen) == bool(expected)


def test_another_scale_is_another_guess():
    sides = [whole_shapes([Input("x", (1, 3, "h", "w"))], scale).shapes["x"][2] for scale in SCALES]
    assert len(set(sides)) == len(sides)


IMAGE = [("images", "float32", (1, 3, 64, 64))]
COCO = Annotations("data/instances.json", classes=3, images=5)


@pytest.mark.parametrize(
    ("inputs", "outputs", "layout"),
    [
        (IMAGE, [("out", "float32", (1, 7, 84))], "yolov8"),
        (IMAGE, [("out", "float32", (1, 84, 8))], "yolov5"),
        (IMAGE, [("out", "float32", (1, 300, 6))], "end-to-end"),
        (
            IMAGE,
            [("logits", "float32", (1, 9, 3)), ("pred_boxes", "float32", (1, 9, 4))],
            "rt-detr",
        ),
        (IMAGE, [("out", "float32", (1, 9, 84))], None),  # five classes, and there are three
        (IMAGE, [("out", "float32", (1, 1000))], None),
        (IMAGE, [("out", "float32", (1, "n", "m"))], None),
        ([("ids", "int64", (1, 16))], [("out", "float32", (1, 7, 84))], None),
        ([*IMAGE, ("scale", "float32", (1, 2))], [("out", "float32", (1, 7, 84))], None),
    ],
)
def test_a_detector_is_one_whose_output_fits_the_annotations(inputs, outputs, layout):
    model = facts(inputs, outputs)
    assert layout_for(model, COCO.classes) == layout
    guess = guess_task(model, [COCO])
    assert guess.task == ("detection" if layout else "tensors")
    assert guess.layout == layout
    assert (guess.annotations is COCO) is (layout is not None)
    assert guess_task(model, []).task == "tensors"
    assert guess_task(model, [COCO], cannot_score="install pillow").task == "tensors"


def test_what_it_could_be_besides_is_said():
    detector = facts(IMAGE, [("out", "float32", (1, 7, 84))])
    assert "yolov8" in " ".join(guess_task(detector, []).could_be)
    assert "install pillow" in " ".join(guess_task(detector, [COCO], "install pillow").could_be)
    classifier = facts(IMAGE, [("out", "float32", (1, 1000))])
    assert '"classification" (1000 classes)' in " ".join(guess_task(classifier, []).could_be)


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts)
def test_any_text_is_quoted_as_toml(text):
    assert toml(f"x = {quoted(text)}") == {"x": text}


@given(name=texts, path=texts, told=texts, left_out=st.sampled_from(["", "it is\nbroken\r!"]))
def test_whatever_files_are_called_the_text_says_that_and_nothing_more(name, path, told, left_out):
    model = PlannedModel(
        name,
        path,
        takes=(told,),
        gives=(told,),
        shapes={told: (1, 2)},
        sizes=(told,),
        about_precisions=told,
        precisions=("fp32", "fp16"),
        left_out=left_out,
    )
    plan = Plan((model,), ("ort-cpu",), {"trt": told}, notes=(told,))
    said = toml(settings_text(plan, "1.0"))
    assert said.pop("matrix") == {"backends": ["ort-cpu"]}
    table = {
        "path": path,
        "task": "tensors",
        "shapes": {told: [1, 2]},
        "precisions": ["fp32", "fp16"],
    }
    assert said == ({} if left_out else {"models": {name: table}})
    if not left_out:
        broken = toml(settings_text(plan, "1.0", broken=True))["models"][name]
        assert broken["precisions"] == ["int8"]
