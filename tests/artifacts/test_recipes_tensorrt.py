"""Graphs for TensorRT, parsed and built by TensorRT-RTX: that needs no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.artifacts import recipes_ort
from pytest_inferbench.errors import InferbenchError

trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs tensorrt-rtx")
pytestmark = pytest.mark.slow

Images = Callable[[int, int], np.ndarray]
RECIPES: dict[str, dict[str, Any]] = {
    "fp16": {"precision": "fp16", "scheme": "trt"},
    "bf16": {"precision": "bf16", "scheme": "trt"},
    "int8": {"precision": "int8", "scheme": "trt"},
    "fp8": {"precision": "fp8", "scheme": "trt"},
}


class Silent(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's words out of the output; what matters is in the parser's errors."""

    def log(self, _severity: Any, _message: str) -> None:
        """Say nothing."""


def parser_errors(path: Path, batch: tuple[int, int] = (1, 4)) -> list[str]:
    """Parse and build for compute capability 8.9; return what the parser has against it."""
    logger = Silent()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        return [parser.get_error(index).desc() for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        low, high = ([size if each < 0 else each for each in tensor.shape] for size in batch)
        profile.set_shape(tensor.name, low, low, high)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    assert plan.nbytes > 1000
    return []


def built(recipe: dict[str, Any], source: Path, **calibration: np.ndarray) -> Path:
    output = source.parent / "built.onnx"
    recipes_ort.build(recipe, str(source), str(output), calibration)
    return output


@pytest.mark.parametrize("name", RECIPES)
def test_a_detector_builds(detector: Path, images: Images, name: str):
    assert parser_errors(built(RECIPES[name], detector, images=images(2, 0))) == []


@pytest.mark.parametrize("name", RECIPES)
def test_the_built_in_model_builds(tmp_path: Path, pytestconfig: pytest.Config, name: str):
    source = tmp_path / "detector.onnx"
    source.write_bytes((pytestconfig.rootpath / "fixtures/detector/detector.onnx").read_bytes())
    samples = np.random.default_rng(0).random((2, 1, 3, 192, 192), np.float32)
    output = built(RECIPES[name], source, images=samples)
    onnx.checker.check_model(str(output), full_check=True)
    assert parser_errors(output) == []


def test_the_scheme_for_cpus_is_refused_for_its_biases(detector: Path, images: Images):
    errors = parser_errors(built({"precision": "int8"}, detector, images=images(2, 0)))
    assert any("bias_DequantizeLinear" in each or ".b_DequantizeLinear" in each for each in errors)
    assert any("Int32" in each for each in errors)


def layers(folder: Path, *, transposed: bool) -> Path:
    """Each layer with weights, a grouped Conv too, and a Gemm whose weights lie either way."""
    rng = np.random.default_rng(0)
    weights = {
        "conv": rng.normal(0, 0.2, (8, 3, 3, 3)),
        "deconv": rng.normal(0, 0.2, (8, 4, 2, 2)),
        "grouped": rng.normal(0, 0.2, (8, 2, 3, 3)),
        "matmul": rng.normal(0, 0.2, (8, 6)),
        "gemm": rng.normal(0, 0.2, (5, 6) if transposed else (6, 5)),
        "bias": rng.normal(0, 0.2, 5),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "conv"], ["a"], name="a", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["ar"], name="ar"),
        node("ConvTranspose", ["ar", "deconv"], ["b"], name="b", strides=[2, 2]),
        node("Conv", ["b", "grouped"], ["c"], name="c", group=2),
        node("GlobalAveragePool", ["c"], ["d"], name="d"),
        node("Flatten", ["d"], ["e"], name="e"),
        node("MatMul", ["e", "matmul"], ["f"], name="f"),
        node("Gemm", ["f", "gemm", "bias"], ["y"], name="g", transB=int(transposed)),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    source = folder / "layers.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), source)
    return source


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_every_layer_with_weights_builds(tmp_path: Path, name: str, transposed: bool):
    source = layers(tmp_path, transposed=transposed)
    samples = np.random.default_rng(1).normal(size=(4, 1, 3, 8, 8)).astype(np.float32)
    output = tmp_path / "built.onnx"
    facts = recipes_ort.build(RECIPES[name], str(source), str(output), {"x": samples})
    assert facts["precisions"][name] >= 5
    assert parser_errors(output) == []


def test_int8_for_tensorrt_is_symmetric_and_leaves_biases(detector: Path, images: Images):
    output = built(RECIPES["int8"], detector, images=images(2, 0))
    graph = onnx.load(output).graph
    constants = {each.name: each for each in graph.initializer}
    pairs = [node for node in graph.node if node.op_type.endswith("eLinear")]
    assert len(pairs) > 6
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero).any()
    assert {constants[f"{each}.b"].data_type for each in ("stem", "down", "head")} == {
        TensorProto.FLOAT
    }
    stem = numpy_helper.to_array(constants["stem.w_quantized"])
    assert np.abs(stem).max() == 127  # all 8 bits
    producers = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Conv":
            assert [producers.get(name, "") for name in node.input] == ["DequantizeLinear"] * 2 + [
                ""
            ]


def test_an_unknown_scheme_is_refused(detector: Path, images: Images):
    with pytest.raises(InferbenchError, match="cpu, cuda, trt") as caught:
        built({"precision": "int8", "scheme": "gpu"}, detector, images=images(2, 0))
    assert caught.value.code == "IB-437"


def test_float8_after_a_relu_is_right_under_onnx_runtime(tmp_path: Path):
    """Its optimizer would drop the Relu before the quantizer."""
    source = layers(tmp_path, transposed=False)
    samples = np.random.default_rng(1).normal(size=(4, 1, 3, 8, 8)).astype(np.float32)
    output = built(RECIPES["fp8"], source, x=samples)
    expected, got = (
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
            None, {"x": samples[0]}
        )[0]
        for path in (source, output)
    )
    assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)
    weights = {each.name: each.data_type for each in onnx.load(output).graph.initializer}
    assert weights["conv_quantized"] == TensorProto.FLOAT8E4M3FN
