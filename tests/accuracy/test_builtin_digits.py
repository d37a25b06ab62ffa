"""The built-in detector's own detections, scored as pycocotools does when called directly."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_inferbench import builtin
from pytest_inferbench.accuracy.coco import IOUS, evaluate
from pytest_inferbench.accuracy.data import (
    load_calibration_images,
    load_detection_inputs,
    load_ground_truth,
)
from pytest_inferbench.accuracy.detection import detect
from pytest_inferbench.artifacts.recipes_ort import build
from pytest_inferbench.locate import packaged_folder

SIZE, IMAGES, CALIBRATION = (192, 192), 60, 16
FIGURES = ("map", "map50", "map75", "small", "medium", "large")


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    """Some images of the built-in set, and as many to calibrate on as it takes."""
    scenes = builtin._load(packaged_folder("fixtures") / "detector" / "scenes.py")
    folder = tmp_path_factory.mktemp("built-in")
    scenes.write_dataset(folder / "calibration", "calibration", CALIBRATION)
    return scenes.write_dataset(folder / "val", "val", IMAGES), folder / "calibration/images"


def detections_of(model, instances):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = list(load_detection_inputs(instances, SIZE))
    outputs = [session.run(None, {"images": image})[0] for _, image, _ in inputs]
    return detect(outputs, [row[2] for row in inputs], [row[0] for row in inputs], layout="yolov8")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_its_figures_are_those_of_pycocotools_to_the_last_digit(
    val, pycocotools_alone, tmp_path, precision
):
    instances, calibration = val
    model = str(builtin.model_path())
    if precision != "fp32":
        samples = np.stack(list(load_calibration_images(calibration, SIZE)))
        source, model = model, str(tmp_path / "model.onnx")
        build({"precision": precision}, source, model, {"images": samples})
    found = detections_of(model, instances)
    scores = evaluate(load_ground_truth(instances), found)
    judge = pycocotools_alone(json.loads(instances.read_text()), found, tmp_path)
    assert [getattr(scores, name) for name in FIGURES] == judge.stats[:6].tolist()
    table = judge.eval["precision"][..., -1]
    assert np.array_equal(scores.precision, table)
    for number, label in enumerate(scores.per_class):
        assert scores.ap(label=label) == table[:, :, number, 0].mean()
        for step, iou in enumerate(IOUS):
            assert scores.ap(label=label, iou=iou) == table[step, :, number, 0].mean()
    assert 0.3 < scores.map < 1  # it is worth something, and not perfect
