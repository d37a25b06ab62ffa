"""Artifacts and references, built by real workers into a cache of this test's own."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.provision import provide, reference_outputs

SETTINGS = """
cache = "cache"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 3
calibration_samples = 4
quantization = { method = "METHOD" }
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "fp16", "int8"]
"""


@pytest.fixture
def gate_in(tmp_path, save_net):
    """Make the gate of a folder with one small model."""
    save_net(tmp_path / "net.onnx")

    def make(method="minmax"):
        (tmp_path / "inferbench.toml").write_text(SETTINGS.replace("METHOD", method))
        return Gate.from_folder(tmp_path)

    return make


def provided(gate, precision):
    cell = next(cell for cell in gate.cells if cell.precision == precision)
    return provide(gate, cell, gate.task_of("net"))


def forbid_workers(gate, monkeypatch):
    monkeypatch.setattr(gate, "launch", lambda *_: pytest.fail("a worker was launched"))


def test_fp32_is_the_file_as_it_is(gate_in, tmp_path, monkeypatch):
    gate = gate_in()
    forbid_workers(gate, monkeypatch)
    artifact = provided(gate, "fp32")
    assert artifact.path == str(tmp_path / "net.onnx")
    assert artifact.sha256 == hashlib.sha256(Path(artifact.path).read_bytes()).hexdigest()
    assert gate.cache.entries() == []


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_are_built_once_on_this_host(gate_in, precision, monkeypatch):
    first = provided(gate_in(), precision)
    assert first.sha256 == hashlib.sha256(Path(first.path).read_bytes()).hexdigest()
    another_session = gate_in()
    forbid_workers(another_session, monkeypatch)
    assert provided(another_session, precision) == first
    (entry,) = another_session.cache.entries()
    assert entry.describe == {"model": "net", "family": "ort", "precision": precision}


def test_another_recipe_is_another_int8_artifact_and_the_same_fp16(gate_in):
    before = [provided(gate_in(), precision).path for precision in ("fp16", "int8")]
    after = [provided(gate_in("percentile"), precision).path for precision in ("fp16", "int8")]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_reference_is_computed_once_and_is_what_the_model_says(gate_in, monkeypatch):
    gate = gate_in()
    task = gate.task_of("net")
    outputs = reference_outputs(gate, task)
    (weight,) = map(numpy_helper.to_array, onnx.load(task.facts.path).graph.initializer)
    for sample, output in zip(task.inputs, outputs, strict=True):
        np.testing.assert_allclose(output["y"], sample["x"] @ weight, rtol=1e-4, atol=1e-4)
    another_session = gate_in()
    forbid_workers(another_session, monkeypatch)
    again = reference_outputs(another_session, another_session.task_of("net"))
    np.testing.assert_array_equal(again[2]["y"], outputs[2]["y"])


def test_without_the_reference_s_runtime_nothing_is_compared(gate_in):
    gate = gate_in()
    gate.environments["default"] = dataclasses.replace(
        gate.environments["default"], distributions={}
    )
    with pytest.raises(InferbenchError, match="nothing can be compared") as error:
        reference_outputs(gate, gate.task_of("net"))
    assert error.value.code == "IB-206"
