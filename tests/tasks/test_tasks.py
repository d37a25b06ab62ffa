"""What a model is run on: its data if it has some, else the same random tensors every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench import builtin
from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.schema import ModelSettings, Settings
from pytest_inferbench.tasks import Mapped, make_task


def write_identity(path, shape, dtype=TensorProto.FLOAT):
    ends = [helper.make_tensor_value_info(name, dtype, shape) for name in ("x", "y")]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.save(model, path)


@pytest.fixture
def task(tmp_path):
    """Make the task of a model with one input."""

    def make(kind="tensors", shape=(1, 3), dtype=TensorProto.FLOAT, **settings):
        write_identity(tmp_path / "net.onnx", shape, dtype)
        model = ModelSettings(path=tmp_path / "net.onnx", task=kind, **settings)
        said: list[str] = []
        return make_task("net", model, ArtifactCache(tmp_path / "cache"), said.append)

    return make


def test_random_inputs_are_the_same_every_time_and_never_the_calibration_s(task):
    first, again = task(samples=4), task(samples=4)
    assert len(first.inputs) == 4
    assert first.data_sha256 == again.data_sha256
    np.testing.assert_array_equal(first.inputs[3]["x"], again.inputs[3]["x"])
    assert first.calibration["x"].shape == (64, 1, 3)
    calibrated_on = {sample.tobytes() for sample in first.calibration["x"]}
    assert calibrated_on.isdisjoint(sample["x"].tobytes() for sample in first.inputs)
    assert first.calibration_sha256 != first.data_sha256


def test_data_of_the_settings_are_the_inputs(task, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(3):
        np.savez(tmp_path / f"data/{number}.npz", x=np.full((1, 3), number, np.float32))
    found = task(data=tmp_path / "data", samples=2)
    assert [sample["x"][0, 0] for sample in found.inputs] == [0, 1]
    other = task(data=tmp_path / "data")
    assert other.data_sha256 != found.data_sha256


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda detector: detector.inputs, "IB-528"),
        (lambda detector: detector.calibration, "IB-529"),
        (lambda detector: detector.score([{"y": np.zeros((1, 6, 4))}]), "IB-528"),
    ],
)
def test_a_detector_without_data_says_which_setting(task, ask, code):
    detector = task("detection", shape=(1, 3, 32, 32))
    with pytest.raises(InferbenchError) as error:
        ask(detector)
    assert error.value.code == code
    assert "models.net." in error.value.hint


def test_an_image_size_that_cannot_be_told_asks_for_shapes(task, tmp_path):
    instances = tmp_path / "instances.json"
    instances.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    detector = task("detection", shape=(1, 3, "h", "w"), data=instances)
    with pytest.raises(InferbenchError, match="how large images must be") as error:
        len(detector.inputs)
    assert error.value.code == "IB-543"
    assert "models.net.shapes" in error.value.hint


def test_mapped_elements_are_made_when_asked_for():
    made = []
    mapped = Mapped([1, 2, 3], lambda number: made.append(number) or {"x": number})
    assert (len(mapped), made) == (3, [])
    assert mapped[1:] == [{"x": 2}, {"x": 3}]
    assert made == [2, 3]


def test_settings_without_models_get_the_detector_and_others_are_left_alone(tmp_path):
    settings = builtin.with_builtin_models(Settings())
    model = settings.models["detector"]
    assert builtin.is_builtin(model)
    assert model.path.is_file()
    own = Settings(models={"net": ModelSettings(path=tmp_path / "net.onnx", task="tensors")})
    assert builtin.with_builtin_models(own) is own
    copied = Path(shutil.copy(model.path, tmp_path))
    assert not builtin.is_builtin(ModelSettings(path=copied, task="detection"))


def test_the_built_in_data_are_generated_once_and_said_so(tmp_path):
    cache, said = ArtifactCache(tmp_path), []
    first = builtin.data_set(cache, "calibration", said.append)
    again = builtin.data_set(cache, "calibration", said.append)
    assert first == again
    assert len(json.loads(first.read_text())["images"]) == 64
    assert len(said) == 1
    (entry,) = cache.entries()
    assert "calibration" in entry.describe["data set"]


def test_a_bfloat16_model_has_inputs_in_its_carrier(task):
    made = task(dtype=TensorProto.BFLOAT16)
    assert made.inputs[0]["x"].dtype == np.uint16
    assert made.calibration["x"].dtype == np.uint16
    assert made.data_sha256 != made.calibration_sha256


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.FLOAT8E5M2])
def test_a_type_that_cannot_be_made_up_names_the_input(task, dtype):
    with pytest.raises(InferbenchError, match="input 'x' is of type") as caught:
        task(dtype=dtype).inputs  # noqa: B018
    assert caught.value.code == "IB-543"
    assert ".data = " in caught.value.hint


def test_images_become_what_a_detector_takes(task):
    image = np.array([[[[0.0, 1.0, 0.5]]]], np.float32)
    made = task(shape=(1, 1, 1, 3), dtype=TensorProto.BFLOAT16, kind="detection")._sample(image)
    assert made["x"].tolist() == [[[[0, 0x3F80, 0x3F00]]]]
    with pytest.raises(InferbenchError, match="input 'x' is of type 'string'"):
        task(shape=(1, 1, 1, 3), dtype=TensorProto.STRING, kind="detection")._sample(image)
