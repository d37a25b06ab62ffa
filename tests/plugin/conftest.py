"""What the plugin's tests share: a project folder with a small real model and quick settings."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

QUICK = """
cache = ".cache"
lock = ".lock"

[matrix]
backends = ["ort-cpu"]
precisions = ["fp32"]

[latency]
runs = 3
seconds = "150 ms"
warmup_ceiling = "300 ms"
# These tests run beside each other and assert nothing that noise could change.
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0
"""

MODEL = """
[models.net]
path = "net.onnx"
task = "tensors"
samples = 8
"""


def _write_model(path, *, layers=4, seed=0, size=32):
    """Write a small convolutional net, about a millisecond of real work on two cores."""
    rng = np.random.default_rng(seed)
    nodes, weights, name = [], [], "x"
    for i in range(layers):
        channels = 3 if i == 0 else 16
        weight = rng.normal(0, (2 / (channels * 9)) ** 0.5, (16, channels, 3, 3))
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        name = f"r{i}"
    nodes.append(helper.make_node("ReduceMean", [name], ["y"], axes=[2, 3], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.save(model, path)


@pytest.fixture
def write_model():
    """The function that writes the model, for tests that change it."""
    return _write_model


@pytest.fixture
def project(pytester):
    """A folder with one model and settings that measure quickly."""
    _write_model(pytester.path / "net.onnx")
    (pytester.path / "inferbench.toml").write_text(QUICK + MODEL)
    return pytester


@pytest.fixture
def gate(project):
    """Run pytest in the project, in a process of its own."""

    def run(*arguments, timeout=120):
        return project.runpytest_subprocess(*arguments, timeout=timeout)

    return run


@pytest.fixture
def said():
    """Return what a run said, checked to hold no traceback of ours."""

    def said(result):
        text = result.stdout.str() + result.stderr.str()
        for sign in ("INTERNALERROR", "Traceback (most recent call last)", "pytest_inferbench/"):
            assert sign not in text
        return text

    return said
