"""What was kept and cannot be opened is built anew, once, and the session is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pytest_inferbench.artifacts import cache
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware, detect
from pytest_inferbench.options import Options
from pytest_inferbench.settings import load

SETTINGS = """
cache = "cache"
lock = "lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 2
calibration_samples = 4
[matrix]
backends = ["BACKEND"]
precisions = ["PRECISION"]
[backends.trt-build]
compute_capabilities = ["8.6"]
[latency]
runs = 3
seconds = "50 ms"
warmup_floor = "50 ms"
warmup_ceiling = "100 ms"
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0
"""


@pytest.fixture
def run_of(tmp_path, save_net):
    """Make the only cell of a new session."""
    save_net(tmp_path / "net.onnx")
    gates = []

    def run_of(backend, precision, hardware=None):
        text = SETTINGS.replace("BACKEND", backend).replace("PRECISION", precision)
        (tmp_path / "inferbench.toml").write_text(text)
        gate = Gate(load(tmp_path / "inferbench.toml"), Options(), hardware or detect())
        gates.append(gate)
        return gate.run_of(gate.cells[0])

    yield run_of
    for gate in gates:
        gate.close()


def truncate(artifact, beside=False):
    """Cut the artifact's file off, or the largest of those beside it."""
    path = Path(artifact.path)
    if beside:
        path = max((path.parent / name for name in artifact.beside), key=lambda p: p.stat().st_size)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def sound(artifact):
    return hashlib.sha256(Path(artifact.path).read_bytes()).hexdigest() == artifact.sha256


@pytest.mark.parametrize(
    ("backend", "precision", "needs", "beside"),
    [
        ("ort-cpu", "fp16", "onnxruntime", False),
        ("ort-cpu", "int8", "onnxruntime", False),
        ("openvino", "fp16", "openvino", True),
        ("trt-build", "fp16", "tensorrt_rtx_bindings", False),
    ],
)
def test_what_was_cut_off_since_it_was_looked_up(run_of, backend, precision, needs, beside):
    pytest.importorskip(needs)
    run = run_of(backend, precision)
    before = run.artifact
    truncate(before, beside)
    assert run.opened["inputs"]
    assert (run.artifact.path, run.artifact.sha256) == (before.path, before.sha256)
    assert sound(run.artifact)
    (told,) = run.gate.told
    assert told.startswith(f"net at {precision} for {backend} was built anew: what was kept is dam")
    assert "bytes instead of" in told


def test_what_was_cut_off_before_the_session(run_of):
    truncate(run_of("ort-cpu", "fp16").artifact)
    cache.doubt()  # as another process would
    run = run_of("ort-cpu", "fp16")
    assert len(run.outputs) == 2
    assert "what was kept is damaged" in run.gate.told[0]


def test_a_launch_that_is_measured_gets_it_too(run_of):
    run = run_of("ort-cpu", "fp16")
    truncate(run.artifact)
    assert len(run.measure(3)) == 3
    assert len(run.gate.told) == 1


def test_what_is_sound_is_not_built_again(run_of, monkeypatch):
    run = run_of("ort-cpu", "fp16")
    assert run.artifact.built
    run.gate.settings.backends["ort-cpu"] = {"intra_op_threads": 1}  # unknown to it
    with pytest.raises(InferbenchError, match="unknown option"):
        run.opened  # noqa: B018
    assert run.gate.told == []


def test_the_models_own_file_is_never_replaced(run_of, tmp_path):
    run = run_of("ort-cpu", "fp32")
    assert run.artifact.path == str(tmp_path / "net.onnx")
    truncate(run.artifact)
    cut = (tmp_path / "net.onnx").read_bytes()
    with pytest.raises(InferbenchError, match="could not load"):
        run.opened  # noqa: B018
    assert (tmp_path / "net.onnx").read_bytes() == cut
    assert run.gate.told == []


@pytest.fixture
def engine(run_of):
    """A cell with an engine that was built here, and how to say of it something untrue."""
    pytest.importorskip("tensorrt_rtx_bindings")
    run = run_of("trt", "fp32", Hardware(detect().cpu, ("nvidia-not-here",)))
    path = Path(run.artifact.path)

    def doctor(change):
        """Change the key beside the engine, and have the cache take that for what was built."""
        key = path.with_name("model.plan.json")
        meta = json.loads((path.parent / "meta.json").read_text())
        key.write_text(change(key.read_text()))
        (path.parent / "meta.json").unlink()
        cache._sealed_folder(path.parent, meta["key"], meta["describe"], meta["facts"])

    return run, doctor


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda key: key.replace('"version": "', '"version": "0.9.'), "is stale: TensorRT: built"),
        (lambda key: "{}", "cannot be read"),
        (lambda key: key.replace('"plan_sha256": "', '"plan_sha256": "0'), "is truncated or was"),
    ],
)
def test_an_engine_that_is_refused_is_built_anew_once(engine, change, says):
    """What it meets then is that no device is here: its key is no longer the reason."""
    run, doctor = engine
    doctor(change)
    key = Path(run.artifact.path).with_name("model.plan.json")
    doctored = key.read_text()
    with pytest.raises(InferbenchError) as caught:
        run.opened  # noqa: B018
    assert caught.value.code not in ("IB-366", "IB-367")
    assert key.read_text() != doctored
    assert sound(run.artifact)
    (told,) = run.gate.told
    assert told.startswith("net at fp32 for trt was built anew: the backend refused what was kept")
    assert says in told
    with pytest.raises(InferbenchError, match="the cell broke before"):
        run.opened  # noqa: B018
