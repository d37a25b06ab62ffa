"""The conformance suite, run on backends that each break one promise: who fails, and how."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatchcase as fnmatch
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
        "after the next call: y differs by *the output 'y' shares its memory",
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
    """Run the suite on these backends; return what was said, and each one's tests by name."""

    def run(backends, *arguments, settings=SETTINGS):
        breakers(pytester, backends, settings)
        result = pytester.runpytest_subprocess(
            *("-p", "no:randomly", "-p", "no:cacheprovider", "--inferbench-suites"),
            *("-m", "conformance", "--inferbench-json", "out.json", *arguments),
            timeout=300,
        )
        cells = json.loads((pytester.path / "out.json").read_text())["cells"]
        tests = {}
        for cell in cells:
            for test in cell["tests"]:
                found = tests.setdefault(cell["backend"], {})
                found[_name(test["test"])] = (test["outcome"], test["reason"])
        return result, tests

    return run


def _name(nodeid):
    return nodeid.rpartition("::test_")[2].partition("[")[0]


def those(tests, outcome):
    return {name: reason for name, (what, reason) in tests.items() if what == outcome}


@pytest.mark.slow
def test_each_broken_promise_fails_its_own_test_and_no_other(run):
    result, tests = run(["nothing", *BROKEN, *NOT_ASKED], "-k", "not shapes_and_values")
    for backend, (test, words) in BROKEN.items():
        failed = those(tests.pop(backend), "failed")
        assert failed, backend
        for name, reason in failed.items():
            assert fnmatch(name, test), (backend, name, reason)
            assert fnmatch(reason, f"*net on {backend} at fp32*{_literal(words)}*"), reason
    for backend, questions in {"nothing": {}, **NOT_ASKED}.items():
        assert those(tests[backend], "failed") == {}
        skipped = those(tests[backend], "skipped")
        assert "nothing is built" in skipped.pop("built_again_it_gives_the_same")
        assert set(skipped) == set(questions)
        for name, words in questions.items():
            assert fnmatch(
                skipped[name], f"[[]IB-640] net on {backend} at fp32 (*): not asked: {words}*"
            )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.slow
def test_drawn_values_find_wide_integers_that_went_through_floats(run):
    result, _ = run(["nothing", "goes-through-floats"], "-k", "shapes_and_values")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (15, 1)
    result.stdout.fnmatch_lines(["*IB-641*net on goes-through-floats*int64 (), x = *, not *"])
    result.stdout.fnmatch_lines(["*int64 (1, 1, 7), x = *"])


def test_a_crash_and_a_hang_are_named_by_the_test_that_met_them(run):
    quick = SETTINGS.replace('"20 s"', '"2 s"')
    _, tests = run(
        ["crashes-on-none", "hangs-in-threads"],
        *("-k", "batch_of_none or several_threads"),
        settings=quick,
    )
    crashed, hung = (those(tests[b], "failed") for b in ("crashes-on-none", "hangs-in-threads"))
    assert "[IB-301]" in crashed["a_batch_of_none"]
    assert "SIGABRT" in crashed["a_batch_of_none"]
    assert "[IB-302] `examine`" in hung["several_threads_at_once"]
    assert "gave no answer in 2 s and was killed" in hung["several_threads_at_once"]
    assert "several_threads_at_once" not in crashed


def test_a_build_that_is_another_each_time(run):
    fp16 = SETTINGS.replace('["fp32"]', '["fp16"]')
    _, tests = run(["builds-otherwise"], "-k", "test_build", settings=fp16)
    failed = those(tests["builds-otherwise"], "failed")
    assert list(failed) == ["built_again_it_gives_the_same"]
    assert "built again, y differs by 0.333 of its largest value (sample 1)" in str(failed)


def test_facts_of_no_known_form_are_an_error(run):
    _, tests = run(["tells-nonsense"], "-k", "test_placement")
    failed = those(tests["tells-nonsense"], "failed")
    assert len(failed) == 2
    assert all(
        "[IB-642] tells-nonsense tells fallback = 'none at all'" in r for r in failed.values()
    )


ONLY_NOT_ASKED = ("-k", "nodes_run_where")
WITH_OTHERS = ("-k", "nodes_run_where or several_threads")


@pytest.mark.parametrize("spread", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_not_asked_is_neither_a_pass_nor_a_silence(run, spread):
    if spread:
        pytest.importorskip("xdist")
    required = ("--inferbench-require", "is-silent", *spread)
    result, tests = run(["is-silent"], *WITH_OTHERS, *required)
    assert len(those(tests["is-silent"], "skipped")) == 1
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["skipped"] == 1
    result, tests = run(["is-silent"], *ONLY_NOT_ASKED, *required)
    assert those(tests["is-silent"], "passed") == {}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*IB-202*1 of 1 required cells reached no verdict*"])
    result.stdout.fnmatch_lines(["*nodes_run_where_they_were_asked_to: *IB-640*not asked*"])


def test_nothing_but_not_asked_is_no_green_session(run):
    result, _ = run(["is-silent"], *ONLY_NOT_ASKED)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def _literal(words):
    return words.replace("[", "[[]")
