"""A detector calibrated on noise is found out, and the failure says enough to find the cause."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_inferbench import builtin
from pytest_inferbench.locate import packaged_folder

pytestmark = pytest.mark.slow

IMAGES = 80
SETTINGS = """
cache = ".cache"
lock = ".lock"

[matrix]
precisions = ["int8"]

[models.detector]
path = '{path}'
task = "detection"
layout = "yolov8"
data = "instances.json"
calibration = "calibration"
calibration_samples = 16
backends = ["{backend}"]
"""


@pytest.fixture
def detector(pytester):
    """The built-in detector as a user's own model: some of its images, and its settings."""
    pytest.importorskip("pycocotools")
    image = pytest.importorskip("PIL.Image")
    scenes = builtin._load(packaged_folder("fixtures") / "detector" / "scenes.py")
    scenes.write_dataset(pytester.path, "val", IMAGES)
    folder = pytester.path / "calibration"
    folder.mkdir()

    def calibrated_on(pictures, backend):
        for number, pixels in enumerate(pictures):
            image.fromarray(pixels).save(folder / f"{number}.png")
        settings = SETTINGS.format(path=builtin.model_path(), backend=backend)
        (pytester.path / "inferbench.toml").write_text(settings)

    return calibrated_on


def noise():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (160, 160, 3), dtype=np.uint8) for _ in range(16)]


def scenes():
    drawn = builtin._load(packaged_folder("fixtures") / "detector" / "scenes.py")
    return [scene.image for scene in drawn.draw_split("calibration", 16)]


@pytest.mark.parametrize("backend", ["ort-cpu", "openvino"])
def test_noise_is_found_out(detector, gate, backend):
    if backend == "openvino":
        pytest.importorskip("nncf")
    detector(noise(), backend)
    result = gate("-m", "accuracy", "-k", "map_drop", timeout=500)
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    drop = re.search(r"\[IB-601\] map_drop regressed: (0\.\d+), budget 0.02", shown)
    interval = re.search(
        rf"the drop's 95% interval over {IMAGES} images is \+(0\.\d+) to \+(0\.\d+)", shown
    )
    assert 0 < float(interval[1]) < float(drop[1]) < float(interval[2])
    classes = re.search(r"most lost of 6 classes: (\w+) \+0\.\d+, (\w+) \+0\.\d+", shown)
    assert set(classes.groups()) < {"disc", "square", "triangle", "cross", "ring", "crescent"}
    assert re.search(r"calibrated: by minmax on 16 of .*calibration", shown)
    assert f"`inferbench calibrate detector --backend {backend}`" in shown


def test_images_of_the_same_kind_pass(detector, gate):
    detector(scenes(), "ort-cpu")
    gate("-m", "accuracy", "-k", "map_drop", timeout=300).assert_outcomes(passed=1)
