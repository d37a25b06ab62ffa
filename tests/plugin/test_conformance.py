"""The conformance suite, run on backends that each break one promise: who fails, and how it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

BREAKERS = Path(__file__).parents[1] / "conformance/breakers.py"
SETTINGS = """
cache = ".cache"
lock = ".lock"

[models.net]
path = "net.onnx"
task = "tensors"
samples = 4
budgets = { memcpy_nodes = 2 }

[matrix]
precisions = ["fp32"]
backends = [BACKENDS]

[worker]
call_timeout = "20 s"
"""

CONFTEST = """
import os, sys
from pytest_inferbench.backends.catalog import BackendInfo

sys.path.insert(0, os.path.dirname(__file__))

def pytest_inferbench_backends():
    builds = {"builds-otherwise": ("ort", ("fp16",))}
    for line in open("inferbench.toml"):
        if line.startswith("backends = "):
            names = eval(line.partition("=")[2])
    return [
        BackendInfo(
            name=name,
            family=builds.get(name, ("as-is",))[0],
            devices=("cpu",),
            distributions=("onnxruntime",),
            adapter="breakers:Breaker",
            options={"breaks": name},
            precisions=builds.get(name, (0, ("fp32",)))[1],
        )
        for name in names
        if name != "ort-cpu"
    ]
"""

# The test that must fail, and what it must say.
BROKEN = {
    "reuses-its-output": (
        "outputs_belong_to_the_caller",
        "after the next call: y differs by 0.*the output 'y' shares its memory",
    ),
    "writes-to-its-input": (
        "inputs_of_any_memory_layout",
        "plain inputs: the backend wrote to its input 'x'",
    ),
    "ignores-strides": ("inputs_of_any_memory_layout", "strided inputs: y differs by *"),
    "mixes-up-threads": ("several_threads_at_once", "thread * of 4: y differs by *"),
    "leaks": ("opening_and_closing_*leaves_nothing", "* MiB were left by * openings"),
    "mixes-rows": (
        "a_batch_gives_what_its_samples_give",
        "sample 2 in a batch: y differs by *",
    ),
    "gives-a-row-for-none": ("a_batch_of_none", "y has shape (1, 4) for no rows"),
    "swallows-nan": (
        "nan_and_infinity_come_through",
        "nan in 'x': 4 of the 4 values of 'y' that are not finite in the reference's*inf in 'x': *",
    ),
    "falls-back": (
        "nodes_run_where_they_were_asked_to",
        "fallback_nodes*1*MatMul scores on OtherExecutionProvider",
    ),
    "copies": ("nodes_run_where_they_were_asked_to", "memcpy_nodes*3*"),
    "runs-in-less": (
        "nodes_compute_in_the_precision_that_was_asked_for",
        "fp32 was asked for, and the runtime reports nodes computing: 2 in bf16",
    ),
}
NOT_ASKED = {
    "refuses-none": {"a_batch_of_none": "it refuses a batch of none: *there must be a row"},
    "emulates": {
        "nodes_compute_in_the_precision_that_was_asked_for": "this CPU has no instructions for it"
    },
    "is-silent": {
        "nodes_compute_in_the_precision_that_was_asked_for": "is-silent does not tell what *",
        "nodes_run_where_they_were_asked_to": "is-silent does not tell where its nodes run",
    },
}


def breakers(pytester, backends, settings=SETTINGS):
    """Make a project of a small net whose every output takes from every input of its row."""
    weight = np.random.default_rng(0).normal(0, 1, (6, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"], "scores"),
            helper.make_node("Add", ["scores", "scores"], ["y"], "twice"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), pytester.path / "net.onnx"
    )
    shutil.copy(BREAKERS, pytester.path / "breakers.py")
    names = ", ".join(f'"{name}"' for name in backends)
    (pytester.path / "inferbench.toml").write_text(settings.replace("BACKENDS", names))
    pytester.makeconftest(CONFTEST)


@pytest.fixture
def run(pytester):
    def run(backends, *arguments, settings=SETTINGS):
        breakers(pytester, backends, settings)
        result = pytester.runpytest_subprocess(
            *("-p", "no:randomly", "-p", "no:cacheprovider", "--inferbench-suites"),
            *("-m", "conformance", "--inferbench-json", "out.json", *arguments),
            timeout=300,
        )
        found = json.loads((pytester.path / "out.json").read_text())["cells"]
        tests = {cell["cell"].split("/")[1]: cell["tests"] for cell in found}
        return result, {
            backend: {name(test): (test["outcome"], test["reason"]) for test in tests}
            for backend, tests in tests.items()
        }

    return run


def name(test):
    return test["test"].rpartition("::test_")[2].partition("[")[0]


def those(tests, outcome):
    return {name: reason for name, (what, reason) in tests.items() if what == outcome}
