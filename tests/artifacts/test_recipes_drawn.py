"""Drawn graphs: whatever layers they have, each recipe builds, is valid, and computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from pytest_inferbench.artifacts import recipes_ort

CHANNELS, SIZE = 4, 8
RECIPES: dict[str, dict[str, Any]] = {
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "bf16-trt": {"precision": "bf16", "scheme": "trt"},
    "int8": {"precision": "int8"},
    "int8-trt": {"precision": "int8", "scheme": "trt"},
    "fp8": {"precision": "fp8"},
}
# Error relative to the output, of what a number of 11, 8, 7 or 4 bits loses in up to 9 layers. For
# bf16, onnx's evaluator sums in bf16 too, which no runtime does.
WITHIN = {"fp16": 0.01, "bf16": 0.06, "bf16-trt": 0.6, "int8": 0.25, "int8-trt": 0.2, "fp8": 0.25}


class Chain:
    """A network that grows by a layer at a time; each reads what the last one wrote."""

    def __init__(self, seed: int, opset: int) -> None:
        self.rng, self.opset = np.random.default_rng(seed), opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last, self.channels, self.size = "x", CHANNELS, SIZE

    def weight(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int) -> str:
        spread = np.prod(shape[1:], initial=1) ** -0.5
        return self.weight(self.rng.normal(0, spread, shape).astype(np.float32))

    def add(self, op: str, *inputs: str, **attributes: Any) -> None:
        output = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=f"{op}-{output}", **attributes)
        )
        self.last = output

    def conv(self) -> None:
        weights = self.normal(CHANNELS, self.channels, 3, 3), self.normal(CHANNELS)
        self.add("Conv", self.last, *weights, pads=[1, 1, 1, 1])
        self.channels = CHANNELS

    def deconv(self) -> None:
        weight = self.normal(self.channels, CHANNELS, 2, 2)
        self.add("ConvTranspose", self.last, weight, strides=[2, 2])
        self.channels, self.size = CHANNELS, 2 * self.size

    def skip(self) -> None:
        source = self.last
        self.add("Sigmoid", source)
        self.add("Mul", source, self.last)
        self.add("Add", source, self.last)

    def constant(self) -> None:
        self.add("Mul", self.last, self.normal(self.channels, 1, 1))

    def pool(self) -> None:
        self.add("MaxPool", self.last, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def resize(self) -> None:
        scales = self.weight(np.array([1, 1, 2, 2], np.float32))
        self.add("Resize", self.last, "", scales, mode="nearest")
        self.size *= 2

    def shrink(self) -> None:
        self.add("AveragePool", self.last, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
        self.size = self.size // 2 + 1

    def norm(self) -> None:
        names = [self.normal(self.channels) for _ in range(3)]
        variance = self.weight(np.full(self.channels, 0.5, np.float32))
        self.add("BatchNormalization", self.last, *names, variance)

    def twice(self) -> None:
        self.add("Concat", self.last, self.last, axis=1)
        self.channels *= 2

    def head(self, op: str) -> None:
        self.add("GlobalAveragePool", self.last)
        self.add("Flatten", self.last)
        self.add(op, self.last, self.normal(self.channels, 5))
        self.add("Softmax", self.last, axis=-1)

    def model(self) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "y"
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, SIZE, SIZE])
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "drawn", [image], [output], self.weights)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)


LAYERS: dict[str, Callable[[Chain], None]] = {
    "relu": lambda chain: chain.add("Relu", chain.last),
    "softmax": lambda chain: chain.add("Softmax", chain.last, axis=1),
    "clip": lambda chain: chain.add(
        "Clip", chain.last, chain.weight(np.float32(-0.5)), chain.weight(np.float32(0.8))
    ),
    "transpose": lambda chain: chain.add("Transpose", chain.last, perm=[0, 1, 3, 2]),
    **{
        each.__name__: each
        for each in (
            *(Chain.conv, Chain.deconv, Chain.skip, Chain.constant, Chain.pool, Chain.resize),
            *(Chain.shrink, Chain.norm, Chain.twice),
        )
    },
}


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    chain = Chain(draw(st.integers(0, 2**16)), draw(st.integers(13, 21)))
    for layer in draw(st.lists(st.sampled_from(sorted(LAYERS)), max_size=6)):
        LAYERS[layer](chain)
    chain.conv()  # so that there is something to quantize
    if draw(st.booleans()):
        chain.head(draw(st.sampled_from(["Gemm", "MatMul"])))
    return chain.model()


def on_cpu(path: Path, x: np.ndarray, optimized: bool = True) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(model=models(), seed=st.integers(0, 2**16))
def test_drawn_graphs(name: str, model: onnx.ModelProto, seed: int) -> None:
    recipe = RECIPES[name]
    samples = np.random.default_rng(seed).normal(size=(3, 1, CHANNELS, SIZE, SIZE))
    samples = samples.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        source, built, again = (Path(folder) / f"{each}.onnx" for each in "abc")
        onnx.save(model, source)
        facts = recipes_ort.build(recipe, str(source), str(built), {"x": samples})
        recipes_ort.build(recipe, str(source), str(again), {"x": samples})
        assert built.read_bytes() == again.read_bytes()
        onnx.checker.check_model(str(built), full_check=True)
        made = onnx.load(built)
        assert made.ir_version <= 10
        assert made.opset_import[0].version <= (22 if recipe["precision"] == "bf16" else 21)
        assert facts["precisions"][recipe["precision"]] >= 1
        expected = on_cpu(source, samples[0])
        if recipe["precision"] == "bf16":  # no kernels on CPU
            got = ReferenceEvaluator(made).run(None, {"x": samples[0]})[0]
        else:  # 8-bit weights overflow in the fused kernels of CPUs without VNNI
            got = on_cpu(built, samples[0], optimized=name != "int8-trt")
    assert got.dtype == expected.dtype
    assert np.linalg.norm(got - expected) <= WITHIN[name] * np.linalg.norm(expected)
