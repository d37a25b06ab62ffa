"""Where each step of an artifact is made when its cell is on another host, and what goes over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_inferbench import provision, remote
from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.artifacts.plan import Recipe
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import detect
from pytest_inferbench.provision import provide, reference_outputs, renewed

SETTINGS = """
cache = "here"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 3
calibration_samples = 4
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "fp16", "int8"]
[environments.orin]
backends = ["ort-cpu"]
ssh = "{ssh}"
python = "{python}"
hardware = "{hardware}"
env = {{ INFERBENCH_CACHE = "{cache}" }}
"""
GRAPH = Recipe("ort", "fp16", {"scheme": "cpu"}, keyed_by=("onnxruntime",))
THERE = Recipe(
    "ort",
    "int8",
    {"method": "minmax", "exclude": [], "scheme": "cpu"},
    place="target",
    file_name="engine.onnx",
    keyed_by=("onnxruntime",),
    calibrated=True,
    on_device=True,
)


@pytest.fixture
def session(host, tmp_path, mark, save_net):
    """Make the gate of a new session."""
    save_net(tmp_path / "net.onnx")
    text = SETTINGS.format(
        ssh=host.ssh(), python=sys.executable, hardware=detect().cpu, cache=tmp_path / "there"
    )
    (tmp_path / "inferbench.toml").write_text(text)
    return lambda: Gate.from_folder(tmp_path)


@pytest.fixture
def steps(monkeypatch):
    """Have artifacts made in given steps."""
    return lambda *steps: monkeypatch.setattr(provision, "steps_for", lambda *_: steps)


@pytest.fixture
def traffic(monkeypatch):
    """What is sent to other hosts: the bytes of files, and the verbs with their arrays."""
    seen = {"bytes": 0, "built with": []}
    chunk, build = remote.RemoteCache._send_chunk, remote.RemoteCache.build

    def send_chunk(self, name, offset, data):
        seen["bytes"] += len(data)
        chunk(self, name, offset, data)

    def build_there(self, key, describe, file_name, fields, calibration, **options):
        seen["built with"].append(sorted(calibration))
        return build(self, key, describe, file_name, fields, calibration, **options)

    monkeypatch.setattr(remote.RemoteCache, "_send_chunk", send_chunk)
    monkeypatch.setattr(remote.RemoteCache, "build", build_there)
    return seen


def provided(gate, precision):
    (cell,) = [cell for cell in gate.cells if cell.precision == precision]
    assert cell.environment == "orin"
    return provide(gate, cell, gate.task_of("net"))


def lies(tmp_path, where):
    return {
        entry.describe.get("sent", "built") for entry in ArtifactCache(tmp_path / where).entries()
    }


def test_a_model_as_it_is_goes_over_and_nothing_is_kept_here(session, tmp_path, traffic):
    artifact = provided(session(), "fp32")
    assert artifact.path.startswith(str(tmp_path / "there"))
    assert traffic["bytes"] == (tmp_path / "net.onnx").stat().st_size
    assert (lies(tmp_path, "here"), lies(tmp_path, "there")) == (set(), {"net.onnx"})
    assert provided(session(), "fp32") == artifact
    assert traffic["bytes"] == (tmp_path / "net.onnx").stat().st_size


def test_a_graph_is_made_here_and_only_it_goes_over(session, tmp_path, traffic):
    artifact = provided(session(), "int8")
    assert artifact.path.startswith(str(tmp_path / "there"))
    assert artifact.facts["quantized"]
    assert (lies(tmp_path, "here"), lies(tmp_path, "there")) == ({"built"}, {"model.onnx"})
    assert not traffic["built with"]
    sent = traffic["bytes"]
    assert provided(session(), "int8") == artifact
    assert traffic["bytes"] == sent


def test_what_belongs_to_the_device_is_built_there_from_what_was_made_here(
    session, steps, tmp_path, traffic
):
    steps(GRAPH, THERE)
    artifact = provided(session(), "int8")
    assert artifact.path.startswith(str(tmp_path / "there"))
    assert artifact.path.endswith("/engine.onnx")
    assert artifact.facts["quantized"]
    assert (lies(tmp_path, "here"), lies(tmp_path, "there")) == ({"built"}, {"built", "model.onnx"})
    assert traffic["built with"] == [["x"]]
    sent = traffic["bytes"]
    assert sent > 0
    assert provided(session(), "int8") == artifact
    assert traffic == {"bytes": sent, "built with": [["x"]]}, "neither file nor samples went again"


def test_what_is_built_there_already_needs_no_model(session, steps, tmp_path, traffic):
    steps(THERE)
    artifact = provided(session(), "int8")
    there = ArtifactCache(tmp_path / "there")
    there.remove([entry.key for entry in there.entries() if "sent" in entry.describe])
    sent = traffic["bytes"]
    assert provided(session(), "int8") == artifact
    assert traffic == {"bytes": sent, "built with": [["x"]]}


def test_a_build_asked_to_repeat_itself_is_built_again_there(session, steps, tmp_path):
    steps(THERE)
    gate = session()
    first = provided(gate, "int8")
    (cell,) = [cell for cell in gate.cells if cell.precision == "int8"]
    again = provide(gate, cell, gate.task_of("net"), ArtifactCache(tmp_path / "again"))
    assert again.path != first.path
    assert again.sha256 == first.sha256
    assert provided(gate, "int8") == first


def test_what_is_damaged_there_is_sent_again(session, traffic):
    before = provided(session(), "fp32")
    Path(before.path).write_bytes(b"no model")
    gate = session()
    (cell,) = [cell for cell in gate.cells if cell.precision == "fp32"]
    said = InferbenchError("IB-326", "the runtime could not load it")
    assert renewed(gate, cell, gate.task_of("net"), said) == before
    (told,) = gate.told
    assert told.startswith("net was sent to environment orin again: what was kept is damaged")
    assert "8 bytes instead of" in told
    assert renewed(gate, cell, gate.task_of("net"), said) is None, "it is whole: no reason to retry"


def test_what_a_backend_refuses_there_is_built_again_in_place(session, steps, traffic):
    steps(THERE)
    before = provided(session(), "int8")
    gate = session()
    (cell,) = [cell for cell in gate.cells if cell.precision == "int8"]
    said = InferbenchError("IB-366", "the engine is stale: driver: built for 1, here 2")
    again = renewed(gate, cell, gate.task_of("net"), said)
    assert (again.path, again.sha256, again.built) == (before.path, before.sha256, True)
    assert traffic["built with"] == [["x"], ["x"]]
    assert gate.told == [
        "net at int8 for ort-cpu was built anew: the backend refused what was kept"
        " (the engine is stale: driver: built for 1, here 2)"
    ]


def test_the_reference_is_computed_here(session, tmp_path, traffic):
    gate = session()
    outputs = reference_outputs(gate, gate.task_of("net"))
    assert len(outputs) == 3
    assert traffic["bytes"] == 0
    assert not (tmp_path / "there").exists()
