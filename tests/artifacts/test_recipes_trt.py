"""Engines by TensorRT for RTX, which builds without a GPU; and who refuses them, and when."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_inferbench.artifacts.recipes_trt import build
from pytest_inferbench.backends.device_buffers import find_device
from pytest_inferbench.backends.trt import TensorRt
from pytest_inferbench.backends.trt_key import key_file, read_plan
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import Limits, launch

pytest.importorskip("tensorrt_rtx_bindings")


@pytest.fixture
def engine(detector, tmp_path):
    """An engine of the detector, with its key."""
    plan = tmp_path / "model.plan"
    build({"precision": "fp32"}, str(detector), str(plan), {})
    return plan


def refused(plan, precision="fp32", options=None):
    with pytest.raises(InferbenchError) as caught:
        TensorRt().open(str(plan), options or {}, precision)
    return caught.value


def test_an_engine_has_its_key_beside_it_and_facts(detector, tmp_path):
    plan = tmp_path / "model.plan"
    facts = build({"precision": "fp32", "workspace_mib": 64}, str(detector), str(plan), {})
    content, key = read_plan(plan)
    assert facts["plan_bytes"] == len(content) == plan.stat().st_size
    assert facts["precisions"]["fp32"] > 0
    assert facts["precisions_from"] == "network" or find_device()
    assert key.place.flavour == facts["flavour"] == "tensorrt-rtx"
    assert key.place.version == facts["version"]
    assert key.precision == "fp32"
    assert json.loads(json.dumps(facts)) == facts


def test_the_flag_of_tf32_is_set_for_tf32_alone(detector, tmp_path):
    flags = {}
    for precision in ("fp32", "tf32"):
        plan = tmp_path / f"{precision}.plan"
        build({"precision": precision}, str(detector), str(plan), {})
        flags[precision] = read_plan(plan)[1].flags
    assert flags == {"fp32": (), "tf32": ("TF32",)}


def test_a_truncated_engine_is_refused(engine):
    content = engine.read_bytes()
    engine.write_bytes(content[: len(content) // 2])
    error = refused(engine)
    assert error.code == "IB-367"
    assert "truncated" in error.message


def test_an_engine_of_another_precision_is_refused(engine):
    error = refused(engine, "tf32")
    assert error.code == "IB-366"
    assert "precision: built for fp32, here tf32" in error.message
    assert "builder flags: built for none, here TF32" in error.message


def test_an_engine_of_another_version_is_refused(engine):
    key = json.loads(key_file(engine).read_text())
    key["place"]["version"] = "1.0.0"
    key_file(engine).write_text(json.dumps(key))
    error = refused(engine)
    assert error.code == "IB-366"
    assert "built for tensorrt-rtx 1.0.0" in error.message


def test_an_engine_without_a_key_is_refused(engine):
    key_file(engine).unlink()
    assert refused(engine).code == "IB-367"


def test_a_sound_engine_gets_as_far_as_the_device(engine):
    if find_device() is not None:
        pytest.skip("there is a GPU here")
    assert refused(engine).code in ("IB-370", "IB-372")


def test_an_unknown_option_is_refused_before_the_engine_is_read(engine):
    error = refused(engine, options={"cuda_graph": True})
    assert error.code == "IB-323"
    assert "cuda_graphs" in error.message


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        ({"precision": "fp16"}, "IB-368"),
        ({"precision": "int8"}, "IB-368"),
        ({"precision": "int8", "int8": "calibrator"}, "IB-323"),
        ({"precision": "fp32", "calibrate": True}, "IB-323"),
        ({"precision": "fp32", "compute_capabilities": ["9.0"]}, "IB-376"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(detector, tmp_path, recipe, code):
    plan = tmp_path / "refused.plan"
    samples = {"images": np.zeros((2, 1, 3, 32, 32), np.float32)}
    with pytest.raises(InferbenchError) as caught:
        build(recipe, str(detector), str(plan), samples)
    assert caught.value.code == code
    assert not plan.exists()


def test_weights_beside_the_model_are_found(split_detector, tmp_path):
    plan = tmp_path / "split.plan"
    facts = build({"precision": "fp32"}, str(split_detector), str(plan), {})
    assert facts["plan_bytes"] > split_detector.with_name("weights.bin").stat().st_size


def test_a_worker_builds_an_engine_and_another_refuses_it_by_code(detector, tmp_path):
    plan = tmp_path / "model.plan"
    worker = launch(limits=Limits(), modules=["pytest_inferbench.artifacts.recipes_trt"])
    try:
        fields = {"family": "trt", "recipe": {"precision": "fp32"}, "model": str(detector)}
        facts = worker.call("build", {**fields, "output": str(plan)}, {}).fields
    finally:
        worker.close()
    assert facts["plan_bytes"] == plan.stat().st_size
    adapter = "pytest_inferbench.backends.trt:TensorRt"
    plan.write_bytes(plan.read_bytes()[:-1])
    worker = launch(limits=Limits(), modules=[adapter.partition(":")[0]])
    try:
        with pytest.raises(InferbenchError, match="IB-367"):
            worker.call("open", {"backend_module": adapter, "artifact": str(plan)})
    finally:
        worker.close()
