"""A server for comparisons: a model of three convolutions, about a millisecond a request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
from pytest_inferbench.serving.command import Order
from pytest_inferbench.serving.install import installation_for
from pytest_inferbench.serving.repository import write_repository
from pytest_inferbench.serving.server import start
from pytest_inferbench.serving.variant import Variant
from pytest_inferbench.worker.facts import installed

MODEL = "convs"


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the model, and give the server's address by protocol."""
    variant = Variant(max_batch_size=8)
    versions = installed(["onnxruntime"])
    cache = ArtifactCache(default_root())
    found = installation_for(variant, cache, lambda line: print(line, file=sys.stderr), versions)
    _write(folder / "convs.onnx")
    write_repository(folder / "repository", MODEL, folder / "convs.onnx", variant)
    with start(found, Order(folder / "repository", [MODEL])) as server:
        addresses = server.addresses()
        yield {"http": addresses["http"], "grpc": f"grpc://{addresses['grpc']}"}


def _write(path: Path) -> None:
    draw = np.random.default_rng(0)
    nodes, weights, last, channels = [], [], "images", 3
    for number, (wide, stride) in enumerate([(16, 1), (16, 1), (8, 2)]):
        weight = draw.normal(0, 0.1, (wide, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        options = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], **options))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last, channels = f"r{number}", wide
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["scores"]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 8])
    graph = helper.make_graph(nodes, MODEL, [images], [scores], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
