"""A real server with a small model, shared by the tests here; started on first use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SHARED = Path("/dev/shm")


@pytest.fixture(scope="session")
def triton(tmp_path_factory):
    """Return the addresses of a server that serves `rows`: rows of 8 numbers to rows of 4."""
    pytest.importorskip("tritonclient.grpc")
    pytest.importorskip("onnxruntime")
    from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
    from pytest_inferbench.errors import InferbenchError
    from pytest_inferbench.serving.command import Order
    from pytest_inferbench.serving.install import installation_for
    from pytest_inferbench.serving.repository import write_repository
    from pytest_inferbench.serving.server import start
    from pytest_inferbench.serving.variant import Variant
    from pytest_inferbench.worker.facts import installed

    variant = Variant(batching=True, max_batch_size=8)
    versions = installed(["onnxruntime"])
    cache = ArtifactCache(default_root())
    try:
        found = installation_for(variant, cache, sys.stderr.write, versions)
    except InferbenchError as error:
        if error.code == "IB-805":
            pytest.skip(error.message)
        raise
    folder = tmp_path_factory.mktemp("triton")
    write_repository(folder / "repository", "rows", rows(folder / "rows.onnx"), variant)
    with start(found, Order(folder / "repository", ["rows"])) as server:
        yield server.addresses()


def rows(path):
    """Write a model whose answer tells rows apart, and says nothing about their neighbours."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(0).normal(0, 1, (8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "rows",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path
    )
    return path


@pytest.fixture(params=["http", "grpc"])
def url(request, triton):
    """Return the address of the server, once for each protocol."""
    return triton["http"] if request.param == "http" else f"grpc://{triton['grpc']}"


@pytest.fixture(autouse=True)
def nothing_left():
    """No test here leaves shared memory of its own behind."""
    before = set(SHARED.glob("inferbench-*"))
    yield
    mine = {each for each in SHARED.glob("inferbench-*") if f"-{os.getpid()}-" in each.name}
    assert mine <= before
