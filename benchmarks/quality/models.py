"""The models of the benchmark: a stack of equal layers, and the same with more of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = 40
CHANNELS, SIDE = 32, 14
SLOWER = {"+0%": BLOCKS, "+5%": BLOCKS + 2, "+10%": BLOCKS + 4}
"""Blocks by how much more work they are."""


def write_models(folder: Path) -> dict[str, Path]:
    """Write each model; return its file by how much more work it does."""
    return {
        name: _write(folder / f"blocks-{blocks}.onnx", blocks) for name, blocks in SLOWER.items()
    }


def _write(path: Path, blocks: int) -> Path:
    shape = [1, CHANNELS, SIDE, SIDE]
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(blocks):
        kernel = random.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel / 17, f"w{i}"))  # about the same power out
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path
