"""The bf16 converter: what it rounds and keeps; computed by onnx's evaluator, as CPUs cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from pytest_inferbench.artifacts import recipes_ort
from pytest_inferbench.artifacts.bfloat16 import round_to_bfloat16
from pytest_inferbench.artifacts.inspect import inspect
from pytest_inferbench.errors import InferbenchError

Images = Callable[[int, int], np.ndarray]
BF16 = {"precision": "bf16"}
TRT = {"precision": "bf16", "scheme": "trt"}


def made(recipe: dict[str, Any], source: Path) -> tuple[Path, dict[str, Any]]:
    output = source.parent / f"{source.stem}-bf16.onnx"
    facts = recipes_ort.build(recipe, str(source), str(output), {})
    onnx.checker.check_model(str(output), full_check=True)
    return output, facts


def graph(folder: Path, text: str, opset: int = 17) -> Path:
    source = folder / "graph.onnx"
    onnx.save(parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}'), source)
    return source


def computed(path: Path, **feed: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(str(path)).run(None, feed)


@given(st.lists(st.floats(width=32), min_size=1))
def test_rounding_is_to_the_nearest_and_keeps_what_is_finite(values: list[float]):
    given_values = np.array(values, np.float32)
    rounded = round_to_bfloat16(given_values).view(ml_dtypes.bfloat16)
    largest = ml_dtypes.finfo(ml_dtypes.bfloat16).max
    with np.errstate(over="ignore", invalid="ignore"):
        expected = given_values.astype(ml_dtypes.bfloat16)
    overflown = np.isinf(expected) & np.isfinite(given_values)
    expected[overflown] = np.copysign(largest, given_values[overflown]).astype(expected.dtype)
    np.testing.assert_array_equal(rounded.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize("recipe", [BF16, TRT], ids=["cuda", "trt"])
def test_a_detector_in_bf16(detector: Path, images: Images, recipe: dict[str, Any]):
    built, facts = made(recipe, detector)
    image = images(1, 0)[0]
    for expected, got in zip(
        computed(detector, images=image), computed(built, images=image), strict=True
    ):
        assert got.dtype == expected.dtype
        if got.dtype == np.float32:
            assert np.linalg.norm(got - expected) < 0.02 * np.linalg.norm(expected)
    before, after = inspect(detector), inspect(built)
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert (after.opset, after.ir_version) == (22, 10)  # Conv takes bf16 from opset 22 on
    weights = {each.name: each.data_type for each in onnx.load(built).graph.initializer}
    assert weights["stem.w_bf16"] == TensorProto.BFLOAT16
    assert "stem.w" not in weights
    assert weights["scales"] == TensorProto.FLOAT  # Resize takes no other
    left = {(each["op"], each["why"]) for each in facts["left_in_fp32"]}
    resize = ("Resize", "the target has no bf16 kernel for it")
    assert (resize in left) == (recipe is BF16)
    assert ("ReduceMax", "follows the last layer with weights") in left
    assert facts["precisions"]["bf16"] == (6 if recipe is BF16 else 7)
    assert sum(each["nodes"] for each in facts["left_in_fp32"]) == facts["precisions"]["fp32"]


def test_excluded_nodes_stay_in_fp32(detector: Path):
    built, facts = made({**BF16, "exclude": ["head", "op:Sigmoid"]}, detector)
    left = {(each["op"], each["why"]) for each in facts["left_in_fp32"]}
    assert {("Conv", "excluded by the settings"), ("Sigmoid", "excluded by the settings")} <= left
    weights = {each.name: each.data_type for each in onnx.load(built).graph.initializer}
    assert weights["head.w"] == TensorProto.FLOAT
    assert weights["down.w_bf16"] == TensorProto.BFLOAT16
    with pytest.raises(InferbenchError, match="did you mean 'head'") as caught:
        made({**BF16, "exclude": ["haed"]}, detector)
    assert caught.value.code == "IB-432"


def test_masks_stay_finite(tmp_path: Path):
    """The lowest float32 would round to minus infinity, and a masked row to NaN."""
    source = graph(
        tmp_path,
        """(float[2,2] x) => (float[2,2] y) <float[2] mask = {0, 0}, float[2,2] w = {1,0,0,1}> {
        a = Add(x, mask)
        b = Softmax<axis = -1>(a)
        y = MatMul(b, w) }""",
    )
    model = onnx.load(source)
    mask = np.full(2, np.finfo(np.float32).min, np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(mask, "mask"))
    onnx.save(model, source)
    built, _ = made(BF16, source)
    (y,) = computed(built, x=np.zeros((2, 2), np.float32))
    np.testing.assert_allclose(y, 0.5)


GRAPHS = {
    "branches that read, and share weights with, what is outside": """
        (float[2,4] x, bool c) => (float[2,4] y) <float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}>
        {
        a = MatMul(x, w)
        b = If (c) <then_branch = t () => (float[2,4] p) { p = MatMul(a, w) },
                    else_branch = e () => (float[2,4] q) { r = Mul(a, x)
                                                           q = Sub(r, a) }>
        y = MatMul(b, w) }""",
    "a weight that fp32 and bf16 nodes read, and an output read again": """
        (float[2,4] x, bool c) => (float[2,4] y, float[2,4] z)
        <float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, float[4] v = {1,2,3,4}> {
        z = MatMul(x, w)
        a = Greater(z, v)
        b = Where(a, z, v)
        d = Add(b, v)
        y = MatMul(d, w) }""",
    "moves between nodes in fp32, and shapes": """
        (float[2,4] x, bool c) => (float[2,4] y)
        <float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, int64[2] s = {4, 2}> {
        m = MatMul(x, w)
        t = Round(m)
        r = Reshape(t, s)
        u = Floor(r)
        o = Shape(m)
        v = Reshape(u, o)
        y = MatMul(v, w) }""",
    "names that are taken": """
        (float[2,4] x, bool c) => (float[2,4] y)
        <float[4,4] w = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}> {
        x_bf16 = MatMul(x, w)
        w_bf16 = Add(x_bf16, x)
        y = MatMul(w_bf16, w) }""",
}


@pytest.mark.parametrize("recipe", [BF16, TRT], ids=["cuda", "trt"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_converters_stumble_over(tmp_path: Path, name: str, recipe: dict[str, Any]):
    source = graph(tmp_path, GRAPHS[name])
    built, facts = made(recipe, source)
    assert facts["precisions"]["bf16"] >= 2
    for truth in (True, False):
        feed = {"x": np.arange(8, dtype=np.float32).reshape(2, 4) / 8, "c": np.array(truth)}
        for expected, got in zip(computed(source, **feed), computed(built, **feed), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0.03, atol=0.3)


def test_what_has_no_bf16_operator_is_refused(tmp_path: Path):
    source = graph(tmp_path, "(float[4] x) => (float[4] y) { y = Round(x) }")
    with pytest.raises(InferbenchError, match="needs exact values") as caught:
        made(BF16, source)
    assert caught.value.code == "IB-434"


def test_a_target_that_must_open_it_is_asked(detector: Path):
    with pytest.raises(InferbenchError, match="NotImplemented") as caught:
        made({**BF16, "opens_with": "ort-cpu"}, detector)
    assert caught.value.code == "IB-433"
