"""Pinning: which CPUs are chosen, what is refused, and that threads of a real worker inherit it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.affinity import VARIABLE, chosen, refuse_strays
from pytest_inferbench.worker.client import Environment, Limits, launch

SAMPLE = {"x": np.zeros((64, 64), np.float32)}


def adapter(backend):
    return CATALOG[backend].adapter


def opening(backend, folder, **options):
    """Write a product large enough for threads, and return what opens it."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        " agraph (float[64, 64] x) => (float[64, 64] y) { y = MatMul(x, x) }"
    )
    onnx.save(model, folder / "model.onnx")
    return {
        "backend_module": adapter(backend),
        "artifact": str(folder / "model.onnx"),
        "options": {**CATALOG[backend].options_on("cpu"), **options},
    }


def machine(root, siblings):
    """Write what the kernel tells of each CPU's core."""
    for cpu, text in enumerate(siblings):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return str(root)


@pytest.mark.parametrize(
    ("siblings", "allowed", "cpus"),
    [
        (["0", "1", "2", "3"], {0, 1, 2, 3}, [0, 1, 2, 3]),
        (["0-1", "0-1", "2-3", "2-3"], {0, 1, 2, 3}, [0, 2]),
        (["0,2", "1,3", "0,2", "1,3"], {0, 1, 2, 3}, [0, 1]),
        (["0,2", "1,3", "0,2", "1,3"], {2, 3}, [2, 3]),
        (["0,2", "1,3", "0,2", "1,3"], {0, 2}, [0]),
        ([], {0, 1}, [0, 1]),
    ],
)
def test_auto_is_one_cpu_of_each_core(tmp_path, siblings, allowed, cpus):
    assert chosen("auto", allowed, 4, machine(tmp_path, siblings)) == cpus


@given(st.sets(st.integers(0, 63), min_size=1), st.data())
def test_cpus_that_are_allowed_are_taken_as_they_are(allowed, data):
    wanted = data.draw(st.sets(st.sampled_from(sorted(allowed)), min_size=1))
    assert chosen(",".join(map(str, wanted)), allowed, 64) == sorted(wanted)


def test_each_cpu_that_cannot_be_had_is_named_with_its_reason():
    with pytest.raises(InferbenchError) as caught:
        chosen("1,3,9", {0, 1}, 4)
    assert caught.value.code == "IB-673"
    assert "CPU 3 is not allowed to this process" in str(caught.value)
    assert "CPU 9 does not exist" in str(caught.value)
    assert "Here there are 0, 1" in str(caught.value)


def test_every_thread_of_a_worker_runs_where_it_was_pinned():
    cpu = min(os.sched_getaffinity(0))
    with launch(Environment(env={VARIABLE: str(cpu)})) as worker:
        assert worker.call("hello").fields["affinity"] == [cpu]
        threads = [int(entry.name) for entry in Path(f"/proc/{worker.pid}/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({cpu})}


@pytest.mark.parametrize("backend", ["ort-cpu", "openvino"])
def test_every_thread_of_a_runtime_keeps_to_the_cpus(backend, tmp_path):
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    cpu = max(os.sched_getaffinity(0))
    with launch(Environment(env={VARIABLE: str(cpu)}), modules=[adapter(backend)]) as worker:
        fields = opening(backend, tmp_path)
        assert worker.call("open", fields).fields["affinity"] == [cpu]
        worker.call("sample", {"duration_s": 0.05, "warmup_ceiling_s": 0.1}, SAMPLE)
        threads = [int(entry.name) for entry in Path(f"/proc/{worker.pid}/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({cpu})}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: none to stray to")
def test_a_runtime_that_moves_its_threads_elsewhere_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    cpu = min(os.sched_getaffinity(0))
    with launch(Environment(env={VARIABLE: str(cpu)}), modules=[adapter("ort-cpu")]) as worker:
        fields = opening("ort-cpu", tmp_path, intra_op_num_threads=0)  # as many as it likes
        with pytest.raises(InferbenchError) as caught:
            worker.call("open", fields)
    assert caught.value.code == "IB-674"
    assert f"was pinned to {cpu}" in str(caught.value)


def test_where_nothing_is_pinned_no_thread_strays():
    refuse_strays(frozenset())
    refuse_strays(os.sched_getaffinity(0))


def test_a_worker_that_is_not_pinned_has_what_this_process_has():
    with launch() as worker:
        assert worker.call("hello").fields["affinity"] == sorted(os.sched_getaffinity(0))


def test_a_worker_that_cannot_be_pinned_is_not_started():
    with pytest.raises(InferbenchError) as caught:
        launch(Environment(env={VARIABLE: "4095"}), Limits(open_timeout_s=60))
    assert caught.value.code == "IB-673"
    assert "CPU 4095 does not exist" in str(caught.value)
