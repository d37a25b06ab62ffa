"""Real conversions by OpenVINO and NNCF: close to fp32, truly converted, reproducible."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from pytest_inferbench.artifacts import recipes_openvino, recipes_ort
from pytest_inferbench.artifacts.inspect import inspect
from pytest_inferbench.backends.openvino_native import OpenVino
from pytest_inferbench.errors import InferbenchError

pytest.importorskip("openvino")
ROOT = Path(recipes_openvino.__file__).parents[2]
FP16 = {"precision": "fp16"}
INT8 = {"precision": "int8", "method": "minmax", "exclude": []}


@pytest.fixture(scope="module")
def nncf():
    return pytest.importorskip("nncf")


def made(recipe, source: Path, **calibration):
    """Build into a folder of its own, and return the file and the facts."""
    output = source.parent / f"built-{len(list(source.parent.iterdir()))}" / "model.xml"
    output.parent.mkdir()
    return output, recipes_openvino.build(recipe, str(source), str(output), calibration)


def refusal(recipe, source: Path, **calibration) -> InferbenchError:
    with pytest.raises(InferbenchError) as caught:
        made(recipe, source, **calibration)
    return caught.value


def run(path: Path, precision: str, image):
    backend = OpenVino()
    backend.open(str(path), {}, precision)
    assert [spec.name for spec in backend.outputs] == ["boxes", "best", "index"]
    output = backend.infer({"images": image})["boxes"].ravel()
    ran = backend.describe()
    backend.close()
    return output, ran


def kinds_of(path: Path) -> set[str]:
    import openvino

    return {op.get_type_name() for op in openvino.Core().read_model(str(path)).get_ops()}


def cosine(a, b) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_fp16_is_half_the_size_and_close(detector: Path, images):
    built, facts = made(FP16, detector)
    image = images(1)[0]
    expected, _ = run(detector, "fp32", image)
    got, ran = run(built, "fp16", image)
    assert cosine(expected, got) > 0.99999
    assert not np.array_equal(expected, got)
    assert facts["fp16_tensors"] >= 6
    assert sorted(path.name for path in built.parent.iterdir()) == ["model.bin", "model.xml"]
    assert built.with_suffix(".bin").stat().st_size < 0.6 * detector.stat().st_size
    assert facts["bytes"] == sum(path.stat().st_size for path in built.parent.iterdir())
    assert ("emulated" in ran) is ("fp16" not in ran["precisions"])


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_int8_computes_in_int8_and_is_close(nncf, detector: Path, images, method):
    built, facts = made({**INT8, "method": method}, detector, images=images(6))
    image = images(1, 1)[0]
    expected, _ = run(detector, "fp32", image)
    got, ran = run(built, "int8", image)
    assert 0.99 < cosine(expected, got) < 0.999999
    assert ran["precisions"]["int8"] >= 3  # its convolutions
    assert facts["quantized"]["Convolution"] == 3
    assert facts["samples"] == 6
    assert "emulated" not in ran


def test_the_share_of_a_percentile_and_scales_a_tensor_change_what_is_built(nncf, detector, images):
    built = [
        made({**INT8, **how}, detector, images=images(3))[0].with_suffix(".bin").read_bytes()
        for how in (
            {"method": "percentile", "percentile": 99.99},
            {"method": "percentile", "percentile": 95.0},
            {"method": "percentile", "percentile": 95.0, "per_channel": False},
        )
    ]
    assert len(set(built)) == 3


def test_what_follows_the_last_layer_with_weights_stays_in_float(nncf, detector: Path, images):
    _, facts = made(INT8, detector, images=images(2))
    left = {each["op"] for each in facts["left_in_fp32"]}
    assert {"TopK", "ReduceMax"} <= left
    assert "Convolution" not in left
    assert {each["why"] for each in facts["left_in_fp32"]} == {
        "follows the last layer with weights"
    }


def test_the_graph_of_onnx_runtime_runs_in_int8_too(detector: Path, images):
    output = detector.parent / "qdq.onnx"
    recipes_ort.build(INT8, str(detector), str(output), {"images": images(6)})
    image = images(1, 1)[0]
    expected, _ = run(detector, "fp32", image)
    got, ran = run(output, "int8", image)
    assert cosine(expected, got) > 0.99
    assert ran["precisions"]["int8"] >= 3
    assert "emulated" not in ran


@pytest.mark.parametrize(
    ("exclude", "convolutions"), [(["head"], 2), (["head", "stem"], 1), (["op:Resize"], 3)]
)
def test_excluded_nodes_stay_in_float(nncf, detector: Path, images, exclude, convolutions):
    _, facts = made({**INT8, "exclude": exclude}, detector, images=images(2))
    assert facts["quantized"]["Convolution"] == convolutions
    assert "excluded by the settings" in {each["why"] for each in facts["left_in_fp32"]}


def test_a_node_that_does_not_exist_cannot_be_excluded(nncf, detector: Path, images):
    error = refusal({**INT8, "exclude": ["haed"]}, detector, images=images(2))
    assert error.code == "IB-432"
    assert "did you mean 'head'?" in error.message


def test_external_weights_and_an_ir_can_be_the_source(nncf, split_detector: Path, images):
    built, _ = made(INT8, split_detector, images=images(2))
    image = images(1, 1)[0]
    expected, _ = run(split_detector, "fp32", image)
    assert cosine(expected, run(built, "int8", image)[0]) > 0.99
    halves, _ = made(FP16, split_detector)
    again, facts = made(INT8, halves, images=images(2))
    assert facts["quantized"]["Convolution"] == 3
    assert cosine(expected, run(again, "int8", image)[0]) > 0.99


BRANCHES = """<ir_version: 8, opset_import: ["" : 13]>
agraph (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y)
<float[4, 3, 1, 1] w, float[1, 4, 8, 8] place, int64 rank = {4}, int64[1] none = {0},
 int64[4] shape = {1, 4, 8, 8}, int64[4] times = {1, 1, 1, 1}, int64[4] once = {1, 1, 1, 1},
 int64[1] one = {1}>
{
    c = Conv (x, w)
    missing = Sub (rank, rank)
    CONDITION
    there = If (holds) <
        THEN = longer () => (float[a, b, c, d] longer_there)
            { size = Reshape (missing, one) ones = Expand (one, size)
              whole = Concat <axis = 0> (ones, shape) longer_there = Reshape (place, whole) },
        ELSE = same () => (float[1, 4, 8, 8] same_there) { same_there = Identity (place) }
    >
    repeats = If (holds) <
        THEN = more () => (int64[k] longer_repeats)
            { size_too = Reshape (missing, one) ones_too = Expand (one, size_too)
              longer_repeats = Concat <axis = 0> (ones_too, times) },
        ELSE = as_many () => (int64[4] same_repeats) { same_repeats = Identity (once) }
    >
    tiled = Tile (there, repeats)
    y = Add (c, tiled)
}"""
SIDES = {
    "else": ("holds = Greater (missing, none)", "then_branch", "else_branch"),
    "then": ("holds = Equal (missing, none)", "else_branch", "then_branch"),
}


@pytest.mark.parametrize("side", SIDES)
def test_a_branch_that_never_runs_is_not_calibrated(nncf, tmp_path: Path, side):
    text = BRANCHES
    for word, written in zip(("CONDITION", "THEN", "ELSE"), SIDES[side], strict=True):
        text = text.replace(word, written)
    model, source = parser.parse_model(text), tmp_path / "branches.onnx"
    rng = np.random.default_rng(0)
    for name, shape in (("w", (4, 3, 1, 1)), ("place", (1, 4, 8, 8))):
        values = rng.normal(0, 1, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, source)
    images = rng.normal(0, 1, (4, 1, 3, 8, 8)).astype(np.float32)
    built, facts = made(INT8, source, x=images)
    assert facts["quantized"]
    assert "If" in kinds_of(source)
    assert "If" not in kinds_of(built)
    outputs = []
    for path, precision in ((source, "fp32"), (built, "int8")):
        backend = OpenVino()
        backend.open(str(path), {}, precision)
        outputs.append(backend.infer({"x": images[0]})["y"].ravel())
        backend.close()
    assert cosine(*outputs) > 0.995


def test_calibration_must_fit(nncf, detector: Path, images):
    some = images(2)
    assert refusal(INT8, detector).code == "IB-430"
    assert refusal(INT8, detector, images=some[:0]).code == "IB-430"
    assert refusal(INT8, detector, pictures=some).code == "IB-431"
    assert refusal(INT8, detector, images=np.where(some > 0.5, np.nan, some)).code == "IB-431"
    wrong = refusal(INT8, detector, images=some[:, :, :2])
    assert wrong.code == "IB-431"
    assert "images" in wrong.message


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize("makes", ["Log(x)", "Div(x, x)"], ids=["infinity", "NaN"])
@pytest.mark.parametrize("sample", [[0, 0], [0, 1]], ids=["all", "some"])
def test_infinite_ranges_are_refused(nncf, tmp_path: Path, method, makes, sample):
    source = tmp_path / "masked.onnx"
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] x) => (float[1,2] y)
        <float[2,2] w = {{1,2,3,4}}> {{
        a = {makes}
        b = MatMul(a, w)
        y = Softmax(b) }}"""
    onnx.save(parser.parse_model(text), source)
    error = refusal({**INT8, "method": method}, source, x=np.array([[sample]] * 2, np.float32))
    assert error.code == "IB-436"


@pytest.mark.parametrize(
    ("recipe", "code", "says"),
    [
        ({"precision": "fp8"}, "IB-435", "fp8"),
        ({"precision": "int8", "method": "entropy"}, "IB-344", "qdq"),
    ],
)
def test_what_cannot_be_made_is_said(nncf, detector: Path, images, recipe, code, says):
    error = refusal(recipe, detector, images=images(2))
    assert error.code == code
    assert says in str(error)


@pytest.mark.parametrize("recipe", [FP16, INT8], ids=["fp16", "int8"])
def test_a_model_without_anything_to_convert_is_refused(nncf, tmp_path: Path, recipe):
    source = tmp_path / "whole.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17]> g (int64[1,8] x) => (int64[1,8] y) {
        y = Add(x, x) }"""
    onnx.save(parser.parse_model(text), source)
    assert inspect(source).inputs
    assert refusal(recipe, source, x=np.ones((2, 1, 8), np.int64)).code == "IB-434"


def test_without_nncf_it_says_what_to_install(detector: Path, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    error = refusal(INT8, detector, images=images(2))
    assert error.code == "IB-343"
    assert "pip install nncf" in error.hint
    assert '"qdq"' in error.hint


BUILD = """
import sys
import numpy as np
from pytest_inferbench.artifacts.recipes_openvino import build
precision, source, *outputs = sys.argv[1:]
images = np.random.default_rng(0).random((3, 1, 3, 32, 32), np.float32)
for output in outputs:
    build({"precision": precision}, source, output, {"images": images})
"""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_same_inputs_build_the_same_bytes(nncf, tmp_path: Path, detector: Path, precision):
    outputs = [tmp_path / name / "model.xml" for name in "abc"]
    for output in outputs:
        output.parent.mkdir()
    for seed, chosen in (("1", outputs[:2]), ("2", outputs[2:])):
        subprocess.run(
            [sys.executable, "-c", BUILD, precision, detector, *chosen],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    for suffix in (".xml", ".bin"):
        assert len({output.with_suffix(suffix).read_bytes() for output in outputs}) == 1
