"""Small real models: a YOLO-like detector with a Resize, a SiLU, a concatenation and a TopK."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = 32


def make_detector(opset: int = 17, channels: int = 24) -> onnx.ModelProto:
    """Two scales, joined after a Resize; raw boxes and the best scores."""
    rng = np.random.default_rng(7)
    weights: list[onnx.TensorProto] = []

    def weight(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(name: str, x: str, y: str, cin: int, cout: int, stride: int = 1) -> onnx.NodeProto:
        kernel = rng.normal(0, (2 / (9 * cin)) ** 0.5, (cout, cin, 3, 3)).astype(np.float32)
        names = [
            x,
            weight(f"{name}.w", kernel),
            weight(f"{name}.b", np.full(cout, 0.1, np.float32)),
        ]
        return helper.make_node(
            "Conv", names, [y], name=name, pads=[1, 1, 1, 1], strides=[stride, stride]
        )

    node = helper.make_node
    nodes = [
        conv("stem", "images", "s", 3, channels),
        node("Sigmoid", ["s"], ["sg"], name="gate"),
        node("Mul", ["s", "sg"], ["silu"], name="silu"),
        conv("down", "silu", "d", channels, channels, 2),
        node("Relu", ["d"], ["dr"], name="relu"),
        node(
            "Resize",
            [
                "dr",
                weight("roi", np.zeros(0, np.float32)),
                weight("scales", np.array([1, 1, 2, 2], np.float32)),
            ],
            ["up"],
            name="up",
            mode="nearest",
        ),
        node("Concat", ["up", "silu"], ["cat"], name="cat", axis=1),
        conv("head", "cat", "h", 2 * channels, 8),
        node("Reshape", ["h", weight("flat", np.array([0, 8, -1], np.int64))], ["boxes"], name="r"),
        node("ReduceMax", ["boxes"], ["score"], name="score", axes=[1], keepdims=0),
        node(
            "TopK", ["score", weight("k", np.array([5], np.int64))], ["best", "index"], name="top"
        ),
    ]
    if opset >= 18:
        nodes[9] = node(
            "ReduceMax",
            ["boxes", weight("axes", np.array([1], np.int64))],
            ["score"],
            name="score",
            keepdims=0,
        )
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 8, SIZE * SIZE]),
            helper.make_tensor_value_info("best", TensorProto.FLOAT, ["n", 5]),
            helper.make_tensor_value_info("index", TensorProto.INT64, ["n", 5]),
        ],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, producer_name="tests"
    )


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """The detector in one file."""
    path = tmp_path / "detector.onnx"
    onnx.save(make_detector(), path)
    return path


@pytest.fixture
def split_detector(tmp_path: Path) -> Path:
    """The detector with its weights in a file beside it; shapes stay inside, as exporters do it."""
    path = tmp_path / "split" / "detector.onnx"
    path.parent.mkdir()
    onnx.save(
        make_detector(), path, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    return path


@pytest.fixture
def images() -> Callable[[int, int], np.ndarray]:
    """Random images with a leading sample axis and a batch of one, by count and seed."""
    return lambda count, seed=0: np.random.default_rng(seed).random(
        (count, 1, 3, SIZE, SIZE), np.float32
    )


@pytest.fixture(name="make_detector")
def _make_detector() -> Callable[..., onnx.ModelProto]:
    """The detector's maker, by opset."""
    return make_detector
