"""Real conversions, run by a real ONNX Runtime: close to fp32, truly converted, reproducible."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from pytest_inferbench.artifacts import recipes_ort
from pytest_inferbench.artifacts.inspect import inspect
from pytest_inferbench.errors import InferbenchError

Images = Callable[[int, int], np.ndarray]
ROOT = Path(recipes_ort.__file__).parents[2]
INT8 = {"precision": "int8", "method": "minmax", "exclude": []}
FP16 = {"precision": "fp16"}
BF16 = {"precision": "bf16"}
FP8 = {"precision": "fp8"}


def made(recipe: dict[str, Any], source: Path, **calibration: np.ndarray) -> Path:
    """Build into a folder of its own, and return the file."""
    output = source.parent / f"built-{len(list(source.parent.iterdir()))}" / "model.onnx"
    output.parent.mkdir()
    recipes_ort.build(recipe, str(source), str(output), calibration)
    return output


def outputs(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"]).run(None, feed)


def lowest_cosine(left: Path, right: Path, images: np.ndarray) -> float:
    cosines = []
    for image in images:
        a, b = (outputs(path, {"images": image})[0].ravel() for path in (left, right))
        cosines.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return min(cosines)


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def refusal(recipe: dict[str, Any], source: Path, **calibration: np.ndarray) -> InferbenchError:
    with pytest.raises(InferbenchError) as caught:
        made(recipe, source, **calibration)
    return caught.value


def test_fp16_is_close_half_the_size_and_keeps_its_interface(detector: Path, images: Images):
    built = made(FP16, detector)
    unseen = images(4, 1)
    assert lowest_cosine(detector, built, unseen) > 0.99999
    assert not np.array_equal(
        *(outputs(path, {"images": unseen[0]})[0] for path in (detector, built))
    )
    before, after = inspect(detector), inspect(built)
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    assert after.size_bytes < 0.6 * before.size_bytes
    kinds = {w.name: w.data_type for w in onnx.load(built).graph.initializer}
    assert kinds["stem.w"] == TensorProto.FLOAT16
    assert kinds["scales"] == TensorProto.FLOAT  # Resize takes no other
    onnx.checker.check_model(str(built), full_check=True)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_int8_is_close_smaller_and_quantized(detector: Path, images: Images, method: str):
    recipe = {**INT8, "method": method, "percentile": 99.999}
    built = made(recipe, detector, images=images(6, 0))
    assert 0.995 < lowest_cosine(detector, built, images(4, 1)) < 0.999999
    assert inspect(built).size_bytes < 0.5 * detector.stat().st_size
    assert ops(built).count("QuantizeLinear") >= 5
    weights = {w.name: w for w in onnx.load(built).graph.initializer}
    stem = weights["stem.w_quantized"]
    assert stem.data_type == TensorProto.INT8
    assert abs(numpy_helper.to_array(stem)).max() <= 64  # 7 bits: no overflow without VNNI
    assert weights["stem.w_scale"].dims == [24]  # one a channel
    onnx.checker.check_model(str(built), full_check=True)


def test_methods_differ(detector: Path, images: Images):
    samples = np.clip(np.random.default_rng(0).normal(size=(4, 1, 3, 32, 32)), -9, 9)
    samples = samples.astype(np.float32)
    files = [
        made({**INT8, **method}, detector, images=samples).read_bytes()
        for method in (
            {"method": "minmax"},
            {"method": "entropy"},
            {"method": "percentile", "percentile": 99.9},
            {"method": "percentile", "percentile": 99.0},
            {"method": "minmax", "per_channel": False},
        )
    ]
    assert len(set(files)) == 5


def test_one_scale_a_tensor_where_that_is_asked(detector: Path, images: Images):
    built = made({**INT8, "per_channel": False}, detector, images=images(3, 0))
    weights = {w.name: w for w in onnx.load(built).graph.initializer}
    assert np.prod(weights["stem.w_scale"].dims or [1]) == 1


@pytest.mark.parametrize(
    ("scheme", "steps"), [("cpu", 255), ("cuda", 255), ("trt", 127)], ids=["cpu", "cuda", "trt"]
)
def test_a_percentile_is_what_the_graph_covers(detector: Path, scheme: str, steps: int):
    """The input is known, so its range is too: 1 of 1000 values is far off, and is left out."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (4, 1, 3, 32, 32)).astype(np.float32)
    values[:, :, 0, 0, :3] = 50.0
    recipe = {**INT8, "scheme": scheme, "method": "percentile", "percentile": 99.0}
    built = onnx.load(made(recipe, detector, images=values))
    (scale,) = [w for w in built.graph.initializer if w.name == "images_scale"]
    assert float(numpy_helper.to_array(scale)) == pytest.approx(1 / steps, rel=0.02)
    plain = onnx.load(made({**INT8, "scheme": scheme}, detector, images=values))
    (scale,) = [w for w in plain.graph.initializer if w.name == "images_scale"]
    assert float(numpy_helper.to_array(scale)) == pytest.approx(50 / steps, rel=0.02)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_relu_that_the_range_stands_for_keeps_its_range(tmp_path: Path, method: str):
    """Its input falls far below zero; were that range taken, its output would lose its levels."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("Conv", ["r", "v"], ["y"], "last"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 12, 12])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.full(4, -6, np.float32), "b"),
            numpy_helper.from_array(rng.normal(0, 1, (1, 4, 3, 3)).astype(np.float32), "v"),
        ],
    )
    source = tmp_path / "relu.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), source
    )
    samples = rng.normal(0, 1, (4, 1, 3, 16, 16)).astype(np.float32)
    recipe = {**INT8, "method": method, "percentile": 100.0}
    built = onnx.load(made(recipe, source, x=samples))
    assert "Relu" not in [node.op_type for node in built.graph.node]
    zeros = {w.name: numpy_helper.to_array(w) for w in built.graph.initializer}
    (reads,) = [n for n in built.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "r"]
    assert zeros[reads.input[2]] == 0


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_what_is_infinite_is_refused_whatever_the_method(
    detector: Path, images: Images, method: str
):
    model = onnx.load(detector)
    for index, node in enumerate(model.graph.node):
        if node.name == "relu":
            model.graph.node[index].CopyFrom(helper.make_node("Exp", ["d"], ["dr"], "relu"))
    (bias,) = [w for w in model.graph.initializer if w.name == "down.b"]
    bias.CopyFrom(numpy_helper.from_array(np.full(24, 1e4, np.float32), "down.b"))
    broken = detector.with_name("broken.onnx")
    onnx.save(model, broken)
    with pytest.raises(InferbenchError) as error:
        made({**INT8, "method": method, "percentile": 99.0}, broken, images=images(2, 0))
    assert error.value.code == "IB-436"


def test_facts_say_what_was_done(detector: Path, images: Images, tmp_path: Path):
    output = tmp_path / "built.onnx"
    facts = recipes_ort.build(INT8, str(detector), str(output), {"images": images(3, 0)})
    assert facts["quantized"]["Conv"] == 3
    assert facts["samples"] == 3
    assert facts["bytes"] == output.stat().st_size
    assert facts["nodes"] == len(ops(output))
    assert facts["ops"]["QuantizeLinear"] == ops(output).count("QuantizeLinear")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built.onnx", "detector.onnx"]


def test_facts_say_what_computes_in_what(detector: Path, images: Images, tmp_path: Path):
    def facts(recipe: dict[str, Any]) -> dict[str, Any]:
        calibration = {"images": images(2, 0)} if recipe["precision"] in ("int8", "fp8") else {}
        return recipes_ort.build(recipe, str(detector), str(tmp_path / "built.onnx"), calibration)

    halves = facts(FP16)
    assert halves["precisions"] == {"fp16": 8, "fp32": 1}
    assert halves["left_in_fp32"] == [
        {"op": "TopK", "nodes": 1, "why": "the converter keeps it"},
    ]
    # The Relu is gone into the range of what it gives; the tail stays as it was.
    assert facts(INT8)["precisions"] == {"fp32": 2, "int8": 6}
    assert facts({**INT8, "scheme": "trt"})["precisions"] == {"fp32": 6, "int8": 3}
    assert facts(FP8)["precisions"] == {"fp32": 6, "fp8": 3}
    assert facts({**INT8, "exclude": ["head"]})["left_in_fp32"] == [
        {"op": "Conv", "nodes": 1, "why": "excluded by the settings"}
    ]


def test_nodes_are_excluded_by_type(detector: Path, images: Images):
    graph = onnx.load(made({**FP16, "exclude": ["stem", "op:Sigmoid"]}, detector)).graph
    assert {w.name: w.data_type for w in graph.initializer}["stem.w"] == TensorProto.FLOAT
    (gate,) = (node for node in graph.node if node.op_type == "Sigmoid")
    producer = next(node for node in graph.node if gate.input[0] in node.output)
    assert producer.attribute[0].i == TensorProto.FLOAT  # a cast
    convs = {"exclude": ["op:Conv"]}
    graph = onnx.load(made({**INT8, **convs}, detector, images=images(2, 0))).graph
    assert not any(weight.name.endswith("w_quantized") for weight in graph.initializer)
    assert refusal({**FP8, **convs}, detector, images=images(2, 0)).code == "IB-434"
    error = refusal({**INT8, "exclude": ["op:Con"]}, detector, images=images(2, 0))
    assert error.code == "IB-432"
    assert "'op:Conv'" in error.message


def test_excluded_nodes_stay_in_fp32(detector: Path, images: Images):
    built = made({**INT8, "exclude": ["head"]}, detector, images=images(2, 0))
    weights = {w.name: w.data_type for w in onnx.load(built).graph.initializer}
    assert weights["head.w"] == TensorProto.FLOAT
    assert weights["stem.w_quantized"] == TensorProto.INT8


def test_a_node_that_does_not_exist_cannot_be_excluded(detector: Path, images: Images):
    error = refusal({**INT8, "exclude": ["haed"]}, detector, images=images(2, 0))
    assert error.code == "IB-432"
    assert "did you mean 'head'?" in error.message


@pytest.mark.parametrize("recipe", [FP16, INT8], ids=["fp16", "int8"])
@pytest.mark.parametrize("opset", [11, 12, 13, 18, 21, 23])
def test_opsets(tmp_path: Path, make_detector, images: Images, recipe: dict[str, Any], opset: int):
    source = tmp_path / "detector.onnx"
    onnx.save(make_detector(opset), source)
    facts = inspect(made(recipe, source, images=images(2, 0)))
    assert facts.opset == (min(max(opset, 13), 21) if recipe is INT8 else opset)
    assert facts.ir_version <= (10 if facts.opset <= 21 else 11)


def test_a_model_that_needs_a_newer_opset_keeps_it(tmp_path: Path):
    source = tmp_path / "new.onnx"
    text = """<ir_version: 10, opset_import: ["" : 23]> g (float[1,8] x) => (float[1,8] y)
        <float[8] w = {1,2,3,4,5,6,7,8}> {
        a = Mul(x, w)
        y = RMSNormalization(a, w) }"""
    onnx.save(parser.parse_model(text), source)
    built = made(INT8, source, x=np.random.default_rng(0).random((4, 1, 8), np.float32))
    assert inspect(built).opset == 23
    assert "RMSNormalization" in ops(built)


BUILD = """
import sys
import numpy as np
from pytest_inferbench.artifacts.recipes_ort import build
precision, source, output = sys.argv[1:]
images = np.random.default_rng(0).random((3, 1, 3, 32, 32), np.float32)
build({"precision": precision, "method": "entropy"}, source, output, {"images": images})
"""


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
@pytest.mark.parametrize("model", ["detector", "split_detector"])
def test_the_same_inputs_build_the_same_bytes(
    request: pytest.FixtureRequest, tmp_path: Path, precision: str, model: str
):
    source = request.getfixturevalue(model)
    built = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", BUILD, precision, source, folder / "model.onnx"],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        built.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert built[0] == built[1]


@pytest.mark.parametrize("recipe", [FP16, BF16, INT8, FP8], ids=["fp16", "bf16", "int8", "fp8"])
def test_external_data_stays_external(split_detector: Path, images: Images, recipe):
    before = hashes(split_detector.parent)
    built = made(recipe, split_detector, images=images(3, 0))
    assert {path.name for path in built.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert inspect(built).external_files == (built.parent / "model.onnx.data",)
    assert 0 < (built.parent / "model.onnx.data").stat().st_size < 35_000  # of 67 kB at fp32
    if recipe is not BF16:  # no kernels on CPU
        assert lowest_cosine(split_detector, built, images(2, 1)) > 0.995
    after = hashes(split_detector.parent)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("recipe", [FP16, BF16, INT8, FP8], ids=["fp16", "bf16", "int8", "fp8"])
def test_the_source_is_never_written_to(detector: Path, images: Images, recipe):
    before = hashes(detector.parent)
    output = detector.parent.parent / f"{detector.parent.name}-built" / "model.onnx"
    output.parent.mkdir()
    recipes_ort.build(recipe, str(detector), str(output), {"images": images(2, 0)})
    assert hashes(detector.parent) == before


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


GRAPHS = {
    "constants as single values": """(float[1,8] x) => (float[1,8] y) {
        c = Constant <value_float = 2.5> ()
        a = Mul(x, c)
        y = Relu(a) }""",
    "an output that is used again": """(float[1,8] x) => (float[1,8] y, float[1,8] z) {
        y = Mul(x, x)
        z = Sigmoid(y) }""",
    "operators that stay fp32, sharing weights with others": """
        (float[1,8] x) => (float[1,8] y) <float[8] w = {1,2,3,4,5,6,7,8}> {
        a = Mul(x, w)
        b = Max(a, w)
        c = Min(b, x)
        y = Add(c, w) }""",
    "casts and scalar inputs": """(int64[1,8] n, bool c, float[1,8] x) => (float[1,8] y)
        <float[8] w = {1,2,3,4,5,6,7,8}> {
        f = Cast<to=1>(n)
        a = Add(f, x)
        y = If (c) <then_branch = t () => (float[1,8] p) { p = Add(a, w) },
                    else_branch = e () => (float[1,8] q) { q = Sub(a, w) }> }""",
    "a function": """(float[1,8] x) => (float[1,8] y) { y = own.twice(x) }
        <opset_import: ["" : 17], domain: "own"> twice (a) => (b) {
        k = Constant <value_float = 2.5> ()
        c = Mul(a, k)
        b = Add(c, a) }""",
    "a range": """(float[1,8] x) => (float[1,8] y) {
        a = Constant <value = float {0}> ()
        b = Constant <value = float {8}> ()
        c = Constant <value = float {1}> ()
        r = Range(a, b, c)
        y = Mul(x, r) }""",
}


@pytest.mark.parametrize("recipe", [FP16, INT8], ids=["fp16", "int8"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_that_converters_stumble_over(tmp_path: Path, graph: str, recipe):
    source = tmp_path / "graph.onnx"
    opsets = '"" : 17, "own" : 1'
    onnx.save(
        parser.parse_model(f"<ir_version: 8, opset_import: [{opsets}]> g {GRAPHS[graph]}"), source
    )
    rng = np.random.default_rng(0)
    kinds = {"float32": rng.random, "int64": lambda s: rng.integers(0, 3, s)}
    samples = {
        spec.name: np.asarray(
            kinds.get(spec.dtype, lambda s: rng.random(s) > 0.5)((5, *spec.shape)), spec.dtype
        )
        for spec in inspect(source).inputs
    }
    built = made(recipe, source, **samples)
    for index in range(5):
        feed = {name: array[index, ...] for name, array in samples.items()}
        for expected, got in zip(outputs(source, feed), outputs(built, feed), strict=True):
            np.testing.assert_allclose(got, expected, atol=0.06, rtol=0.02)


@pytest.mark.parametrize("recipe", [FP16, INT8], ids=["fp16", "int8"])
def test_weights_among_the_inputs_are_converted(tmp_path: Path, make_detector, images, recipe):
    model = make_detector()
    for weight in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        )
    source = tmp_path / "old.onnx"
    onnx.save(model, source)
    built = made(recipe, source, images=images(2, 0))
    kinds = {weight.data_type for weight in onnx.load(built).graph.initializer}
    assert (TensorProto.FLOAT16 if recipe is FP16 else TensorProto.INT8) in kinds
    assert [each.name for each in onnx.load(built).graph.input] == ["images"]
    assert lowest_cosine(source, built, images(2, 1)) > 0.995


def test_calibration_must_fit(detector: Path, images: Images):
    some = images(3, 0)
    assert refusal(INT8, detector).code == "IB-430"
    assert refusal(INT8, detector, images=some[:0]).code == "IB-430"
    assert refusal(INT8, detector, pictures=some).code == "IB-431"
    assert refusal(INT8, detector, images=some, extra=some).code == "IB-431"
    assert refusal(INT8, detector, images=np.where(some > 0.5, np.nan, some)).code == "IB-431"
    wrong = refusal(INT8, detector, images=some[:, :, :2])
    assert wrong.code == "IB-433"
    assert "images" in wrong.message


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_infinite_ranges_are_refused(tmp_path: Path):
    source = tmp_path / "masked.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,8] x) => (float[1,8] y)
        <float[8] w = {1,2,3,4,5,6,7,8}> {
        a = Mul(x, w)
        b = Log(a)
        c = Add(b, w)
        y = Softmax(c) }"""
    onnx.save(parser.parse_model(text), source)
    samples = np.ones((2, 1, 8), np.float32)
    samples[0, 0, 0] = 0
    error = refusal(INT8, source, x=samples)
    assert error.code == "IB-436"
    assert "b, c" in error.message
    made(INT8, source, x=samples[1:])


def test_a_model_that_stays_what_it_was_is_refused(tmp_path: Path):
    source = tmp_path / "half.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float16[1] x) => (float16[1] y) { y = Relu(x) }"""
    onnx.save(parser.parse_model(text), source)
    assert refusal(FP16, source).code == "IB-434"
    assert refusal(INT8, source, x=np.ones((2, 1), np.float16)).code == "IB-434"


def test_an_output_that_onnx_runtime_refuses_is_told(tmp_path: Path):
    source = tmp_path / "quantized.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y)
        <float s = {0.1}, uint8 z = {3}> {
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z) }"""
    onnx.save(parser.parse_model(text), source)
    error = refusal(FP16, source)
    assert error.code == "IB-433"
    assert "QuantizeLinear" in error.message


def test_unknown_precisions(detector: Path):
    error = refusal({"precision": "fp4"}, detector)
    assert error.code == "IB-435"
    assert "fp16, bf16, int8, fp8" in error.hint


def test_a_full_disk_is_told(detector: Path, tmp_path: Path, images: Images):
    with pytest.raises(InferbenchError) as caught:
        recipes_ort.build(FP16, str(detector), str(full_disk(tmp_path)), {})
    assert caught.value.code == "IB-420"


def full_disk(tmp_path: Path) -> Path:
    """A file that every write finds the disk full for."""
    path = tmp_path / "full" / "model.onnx"
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    return path


def test_nothing_is_printed(detector: Path, images: Images, capsys: pytest.CaptureFixture[str]):
    made({**INT8, "method": "entropy"}, detector, images=images(2, 0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("named", [True, False])
def test_what_follows_the_last_weights_stays_in_float(tmp_path: Path, named: bool):
    """Boxes in pixels beside probabilities: one scale for both would lose the latter."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["c"], ["raw", "logits"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["raw", "pixels"], ["boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]
    for node in nodes if named else []:
        node.name = f"/{node.op_type}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.float32(640), "pixels")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    source = tmp_path / "tail.onnx"
    onnx.save(model, source)
    x = rng.normal(size=(8, 1, 3, 8, 8)).astype(np.float32)
    built = made(INT8, source, x=x)
    assert "QuantizeLinear" in ops(built)
    (y,) = outputs(built, {"x": x[0]})
    (expected,) = outputs(source, {"x": x[0]})
    assert np.abs(y[:, 4:] - expected[:, 4:]).max() < 0.05
