"""A real server: installed once into the cache, and small models to serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SHARED = Path("/dev/shm")


@pytest.fixture(scope="session")
def installation():
    """Where a server is; made on first use, which downloads it."""
    pytest.importorskip("tritonclient.grpc")
    pytest.importorskip("onnxruntime")
    from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
    from pytest_inferbench.errors import InferbenchError
    from pytest_inferbench.serving.install import installation_for
    from pytest_inferbench.serving.variant import Variant
    from pytest_inferbench.worker.facts import installed

    cache, versions = ArtifactCache(default_root()), installed(["onnxruntime"])
    try:
        return installation_for(Variant(), cache, sys.stderr.write, versions)
    except InferbenchError as error:
        if error.code == "IB-805":
            pytest.skip(error.message)
        raise


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """A model that takes rows of 8 numbers and gives rows of 4, any number of them."""
    return _net(tmp_path_factory.mktemp("net") / "net.onnx", ["batch", 8], ["batch", 4])


def _net(path, shape, gives, element=1):
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    kind = helper.tensor_dtype_to_np_dtype(element)
    weight = np.random.default_rng(0).normal(0, 1, (8, 4)).astype(kind)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, gives)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture
def make_net():
    """Return what saves such a model, of other shapes or another type."""
    return _net


@pytest.fixture
def repository(tmp_path, net, installation):
    """A repository with that model, as `net`, served as by default."""
    from pytest_inferbench.serving.repository import write_repository
    from pytest_inferbench.serving.variant import Variant

    folder = tmp_path / "repository"
    write_repository(folder, "net", net, Variant())
    return folder


@pytest.fixture(autouse=True)
def nothing_left(tmp_path_factory):
    """No test here leaves shared memory or a server's folder behind."""
    import tempfile

    def found():
        folders = (SHARED, Path(tempfile.gettempdir()))
        return {path for folder in folders for path in folder.glob(f"inferbench-{os.getpid()}-*")}

    before = found()
    yield
    assert found() <= before
