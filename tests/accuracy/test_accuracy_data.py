"""Images as they really come, samples from folders and from seeds, and hashes that follow them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from pytest_inferbench.accuracy.data import (
    load_calibration_images,
    load_detection_inputs,
    load_ground_truth,
    load_tensor_inputs,
    random_inputs,
    samples_sha256,
)
from pytest_inferbench.accuracy.images import read_rgb
from pytest_inferbench.errors import InferbenchError

RNG = np.random.default_rng(3)


def raises(code, message=""):
    return pytest.raises(InferbenchError, match=rf"(?s)\[{code}\].*{message}")


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_set(folder, sizes=((20, 30), (40, 24)), **entry):
    """Write a data set of one object an image; the first image lies in images/."""
    images = []
    for i, (height, width) in enumerate(sizes):
        pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
        save((folder / "images" if i == 0 else folder) / f"{i}.png", pixels)
        image = {"id": 5 + i, "file_name": f"{i}.png", "width": width, "height": height}
        images.append({**image, **entry})
    path = folder / "instances.json"
    dataset = {
        "images": images,
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": i, "image_id": 5 + i, "category_id": 1, "bbox": [1, 1, 9, 9]}
            for i in range(len(sizes))
        ],
    }
    path.write_text(json.dumps(dataset))
    return path


def test_annotated_images_come_as_inputs_with_their_place(tmp_path):
    inputs = load_detection_inputs(write_set(tmp_path), (32, 32))
    assert [image_id for image_id, _, _ in inputs] == [5, 6]
    image_id, tensor, placement = inputs[0]
    assert (image_id, tensor.shape, tensor.dtype) == (5, (1, 3, 32, 32), np.float32)
    assert (placement.width, placement.height) == (30, 20)
    assert 0 <= tensor.min() < tensor.max() <= 1
    assert len(inputs) == len(list(inputs)) == 2
    assert [image_id for image_id, _, _ in inputs[1:]] == [6]
    assert len(load_detection_inputs(tmp_path / "instances.json", (32, 32), limit=1)) == 1


def test_pixels_reach_the_model_in_rgb_order(tmp_path):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    save(tmp_path / "a.png", red)
    tensor = load_calibration_images(tmp_path, (32, 32))[0]
    assert tensor[0, :, 3, 3].tolist() == [1.0, 0.0, 0.0]


def test_the_hash_follows_contents_and_parameters_and_not_the_place(tmp_path):
    path = write_set(tmp_path / "a")
    first = load_detection_inputs(path, (32, 32)).data_sha256
    assert load_detection_inputs(path, (32, 32)).data_sha256 == first
    assert (
        load_detection_inputs(
            (tmp_path / "a").rename(tmp_path / "b") / path.name, (32, 32)
        ).data_sha256
        == first
    )
    path = tmp_path / "b" / path.name
    assert load_detection_inputs(path, (32, 64)).data_sha256 != first
    assert load_detection_inputs(path, (32, 32), limit=1).data_sha256 != first
    save(tmp_path / "b" / "1.png", np.zeros((40, 24, 3), np.uint8))
    assert load_detection_inputs(path, (32, 32)).data_sha256 != first


def test_missing_files_are_named(tmp_path):
    with raises("IB-520", "nothing.json cannot be read"):
        load_ground_truth(tmp_path / "nothing.json")
    path = write_set(tmp_path)
    (tmp_path / "1.png").unlink()
    with raises("IB-526", r"'1\.png' \(id 6\)"):
        load_detection_inputs(path, (32, 32))
    assert len(load_detection_inputs(path, (32, 32), limit=1)) == 1


def test_an_image_of_another_size_than_annotated_is_an_error(tmp_path):
    inputs = load_detection_inputs(write_set(tmp_path, width=31), (32, 32))
    with raises("IB-527", "30 x 20, the annotations say 31 x 20"):
        inputs[0]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_an_error(tmp_path, limit):
    with raises("IB-545"):
        load_detection_inputs(write_set(tmp_path), (32, 32), limit)
    with raises("IB-545"):
        load_calibration_images(tmp_path, (32, 32), limit)
    with raises("IB-545"):
        random_inputs([Spec("x", "float32", (1,))], limit, 0)


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :2] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = save(tmp_path / "a.png", pixels, exif=exif)
    turned = read_rgb(path)
    assert turned.shape == (8, 4, 3)
    assert turned[:2].min() == 200
    assert turned[2:].max() == 0


def test_every_kind_of_pixel_becomes_rgb(tmp_path):
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    alpha = np.full((2, 2, 1), 7, np.uint8)
    made = {
        "grey.png": grey,
        "grey16.png": grey.astype(np.uint16) * 257,
        "rgba.png": np.concatenate([expected, alpha], axis=2),
        "grey-alpha.png": np.concatenate([grey[:, :, None], alpha], axis=2),
        "grey.bmp": grey,
        "grey16.tif": grey.astype(np.uint16) * 257,
    }
    for name, pixels in made.items():
        assert read_rgb(save(tmp_path / name, pixels)).tolist() == expected.tolist(), name
    palette = Image.fromarray(expected).quantize(4)
    palette.save(tmp_path / "palette.png")
    assert read_rgb(tmp_path / "palette.png").tolist() == expected.tolist()
    Image.fromarray(grey > 99).save(tmp_path / "bits.png")
    assert read_rgb(tmp_path / "bits.png")[:, :, 0].tolist() == [[0, 255], [255, 255]]


def test_a_broken_image_is_named(tmp_path):
    whole = save(tmp_path / "a.png", RNG.integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
    for content in (b"", b"no image", whole[:2000], whole[:60] + b"\0" * 90 + whole[150:]):
        (tmp_path / "a.png").write_bytes(content)
        with raises("IB-541", r"a\.png cannot be read"):
            load_calibration_images(tmp_path, (32, 32))[0]
    save(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    with raises("IB-541", "floating point"):
        read_rgb(tmp_path / "a.tif")


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with raises("IB-540", r"pytest-inferbench\[coco\]"):
        read_rgb(tmp_path / "a.png")


def test_calibration_images_are_found_in_any_depth_and_in_order(tmp_path):
    for i, name in enumerate(["b/1.JPG", "a/2.png", "._hidden.png"]):
        save(tmp_path / name, np.full((8, 8, 3), 50 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    found = load_calibration_images(tmp_path, (32, 32))
    assert [path.name for path in found.paths] == ["2.png", "1.JPG"]
    assert [tensor.shape for tensor in found] == [(1, 3, 32, 32)] * 2
    assert len(load_calibration_images(tmp_path, (32, 32), limit=1)) == 1


@pytest.mark.parametrize("load", [load_tensor_inputs, lambda f: load_calibration_images(f, (8, 8))])
def test_a_folder_with_nothing_to_run_is_named(tmp_path, load):
    (tmp_path / "notes.txt").write_text("nothing")
    with raises("IB-542", f"{tmp_path} has no"):
        load(tmp_path)
    with raises("IB-542", "not there is not a folder"):
        load(tmp_path / "not there")


def test_tensors_are_read_by_input_name(tmp_path):
    for i in (1, 0):
        np.savez(tmp_path / f"{i}.npz", ids=np.arange(i, i + 3), mask=np.ones((1, 3), bool))
    found = load_tensor_inputs(tmp_path)
    assert [sample["ids"].tolist() for sample in found] == [[0, 1, 2], [1, 2, 3]]
    assert found[0]["mask"].dtype == bool
    first = found.data_sha256
    np.savez(tmp_path / "1.npz", ids=np.arange(3))
    assert load_tensor_inputs(tmp_path).data_sha256 != first
    assert len(load_tensor_inputs(tmp_path, limit=1)) == 1


def test_pickles_and_damage_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with raises("IB-544", r"a\.npz cannot be read"):
        load_tensor_inputs(tmp_path)[0]
    np.savez(tmp_path / "a.npz", x=RNG.random(1000))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"junk", whole[:500], whole[:400] + b"\1" + whole[401:]):
        (tmp_path / "a.npz").write_bytes(content)
        with raises("IB-544", r"a\.npz cannot be read"):
            load_tensor_inputs(tmp_path)[0]
    np.savez(tmp_path / "a.npz")
    with raises("IB-544", "no arrays"):
        load_tensor_inputs(tmp_path)[0]


@dataclass
class Spec:
    name: str
    dtype: str
    shape: tuple[int | str, ...]


def test_made_up_samples_follow_the_specification_and_the_seed():
    specs = [
        Spec("x", "float16", ("batch", 3, 8)),
        Spec("ids", "int64", (-1, 5)),
        Spec("image", "uint8", (1, 500)),
        Spec("mask", "bool", (1, 500)),
    ]
    samples = random_inputs(specs, 3, seed=1, shapes={"ids": [2, 5]})
    assert [list(sample) for sample in samples] == [["x", "ids", "image", "mask"]] * 3
    for name, dtype, shape in (("x", np.float16, (1, 3, 8)), ("ids", np.int64, (2, 5))):
        assert (samples[0][name].dtype, samples[0][name].shape) == (dtype, shape)
    assert set(np.unique([sample["ids"] for sample in samples])) == {0, 1}
    assert samples[0]["image"].max() > 200
    assert 0.3 < samples[0]["mask"].mean() < 0.7
    hashes = {samples_sha256(random_inputs(specs, 3, seed)) for seed in (1, 1, 2)}
    assert len(hashes) == 2
    assert samples_sha256(samples[:1]) != samples_sha256(samples[1:2])


@pytest.mark.parametrize("known", [False, True])
def test_what_numpy_has_no_type_for_is_made_up_in_its_carrier(known):
    if known:
        import ml_dtypes  # noqa: F401  # numpy then knows the names, and must not be believed
    specs = [Spec("b", "bfloat16", (500,)), Spec("i", "int4", (500,)), Spec("u", "uint4", (500,))]
    (sample,) = random_inputs(specs, 1, seed=1)
    assert [each.dtype.name for each in sample.values()] == ["uint16", "int8", "uint8"]
    numbers = (sample["b"].astype(np.uint32) << np.uint32(16)).view(np.float32)
    assert abs(numbers.mean()) < 0.2
    assert 0.8 < numbers.std() < 1.2
    assert set(sample["i"]) == set(sample["u"]) == {0, 1}


def test_the_hash_of_samples_sees_names_types_shapes_and_borders():
    x = np.arange(6, dtype=np.int32)
    different = [
        [{"x": x}],
        [{"y": x}],
        [{"x": x.view(np.float32)}],
        [{"x": x.reshape(2, 3)}],
        [{"x": x.reshape(2, 3).T}],
        [{"x": x}, {}],
        [{"x": x, "y": x}],
        [{"x": x}, {"y": x}],
    ]
    assert len({samples_sha256(samples) for samples in different}) == len(different)
    strided = np.repeat(x, 2)[::2]
    assert samples_sha256([{"x": strided}]) == samples_sha256([{"x": x}])
    assert samples_sha256([{"x": x, "y": x}]) == samples_sha256([{"y": x, "x": x}])


@pytest.mark.parametrize(
    ("spec", "shapes", "message"),
    [
        (Spec("x", "float32", (1, 3, "height", -1)), {}, r"shapes = \{ \"x\" = "),
        (Spec("x", "float32", (1, 3)), {"x": [1, 4]}, r"\[1, 4\], and the model says \[1, 3\]"),
        (Spec("x", "float32", (1, 3)), {"x": [3]}, "the model says"),
        (Spec("x", "float32", ("n", 3)), {"x": [0, 3]}, "free axes"),
        (Spec("x", "float32", (1, 3)), {"z": [1, 3]}, "'z', which is no input"),
        (Spec("x", "string", (1, 3)), {}, "no values can be made up"),
        (Spec("x", "float8_e4m3fn", (1, 3)), {}, "'x' is of type 'float8_e4m3fn'"),
        (Spec("x", "float8_e5m2", (1, 3)), {}, "'x' is of type 'float8_e5m2'"),
        (Spec("x", "complex64", (1, 3)), {}, "no values can be made up"),
        (Spec("x", "sequence_type", ()), {}, "no values can be made up"),
    ],
)
def test_what_cannot_be_made_up_names_the_key(spec, shapes, message):
    with raises("IB-543", message):
        random_inputs([spec], 2, 0, shapes)


def test_a_scalar_input_has_no_axes_to_give():
    assert random_inputs([Spec("x", "float32", ())], 1, 0)[0]["x"].shape == ()
