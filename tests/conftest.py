"""What all tests share: which run by default, a small model, and that no process is left behind.

Slow tests run only when a marker expression is given (`-m slow`).
"""

from __future__ import annotations

import os
import signal
import time
import uuid

import hypothesis
import pytest

# In a CI of GitHub's, sessions that tests start would write their results into this one's summary.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

MARK = "INFERBENCH_TEST_MARK"

# How long an example takes says nothing on a machine that runs other tests beside it.
hypothesis.settings.register_profile("inferbench", deadline=None)
hypothesis.settings.load_profile("inferbench")

# A shell starts background jobs with these ignored, and what is ignored here stays ignored in the
# processes that tests start and interrupt.
for each in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(each) is signal.SIG_IGN:
        default = signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL
        signal.signal(each, default)


def pytest_collection_modifyitems(config, items):
    """Leave the slow ones out unless `-m` speaks of markers."""
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(autouse=True)
def _sessions_of_their_own(request, monkeypatch):
    """Leave plugins out of the sessions that tests start: they draw an order, or cost a second.

    To import theirs takes a session longer than all else before its first test.
    """
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # which takes the variable away
        left_out = ("randomly", "locust", "anyio", "hypothesispytest")
        monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in left_out))


@pytest.fixture(scope="session")
def mark_variable():
    """The environment variable that carries the mark."""
    return MARK


@pytest.fixture
def left_of():
    """Return the processes with a mark that are still there after some seconds."""
    return _survivors


@pytest.fixture
def mark(monkeypatch):
    """A mark that every process of this test inherits, over ssh too; none may be left."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    yield value
    assert not _survivors(value, within_s=10.0)


@pytest.fixture
def save_net():
    """Return what saves a small model, a product with a matrix, the same each time."""
    return _save_net


def _survivors(mark, within_s):
    deadline = time.monotonic() + within_s
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _marked(mark):
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _save_net(path, **how):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(0, 1, (64, 16)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path, **how)
