"""What is built for TensorRT, step by step, by precision and by what is installed."""

from __future__ import annotations

import pytest

from pytest_inferbench.artifacts.plan import ENGINE_OPTIONS, steps_for
from pytest_inferbench.backends.trt_engine import BUILD_OPTIONS

TEN, ELEVEN = {"tensorrt": "10.13.3.9"}, {"tensorrt": "11.1.0"}
RTX = {"tensorrt-rtx-cu13-bindings": "1.7.1"}


def made(precision, versions, family="trt", **options):
    return [step.family for step in steps_for(family, precision, options, versions)]


@pytest.mark.parametrize("versions", [TEN, ELEVEN, RTX])
def test_fp32_is_built_from_the_file_as_it_is(versions):
    (step,) = steps_for("trt", "fp32", {}, versions)
    assert (step.family, step.place, step.file_name) == ("trt", "target", "model.plan")
    assert step.on_device
    assert not step.calibrated


def test_flags_choose_the_precision_up_to_ten_and_the_graph_after():
    for precision in ("fp16", "bf16"):
        assert made(precision, TEN) == ["trt"]
        for versions in (ELEVEN, RTX):
            assert made(precision, versions) == ["ort", "trt"]


@pytest.mark.parametrize("versions", [TEN, ELEVEN, RTX])
def test_int8_is_a_symmetric_graph_unless_ten_is_to_calibrate(versions):
    graph, engine = steps_for("trt", "int8", {"method": "entropy"}, versions)
    assert graph.parameters["scheme"] == "trt"
    assert graph.parameters["method"] == "entropy"
    assert graph.calibrated
    assert engine.parameters == {"int8": "qdq"}
    steps = steps_for("trt", "int8", {"trt": "calibrator"}, versions)
    assert steps[-1].parameters == {"int8": "calibrator"}
    assert [s.calibrated for s in steps] == ([True] if versions is TEN else [True, False])


def test_only_what_decides_the_build_goes_to_it():
    engine = {"workspace_mib": 256, "cuda_graphs": True, "profiles": {"x": {}}}
    (step,) = steps_for("trt", "fp32", {"engine": engine}, TEN)
    assert step.parameters == {"workspace_mib": 256, "profiles": {"x": {}}}
    assert set(BUILD_OPTIONS) < set(ENGINE_OPTIONS)


def test_suppression_is_put_into_the_graph_before_the_engine_is_built():
    steps = steps_for("trt", "fp16", {"engine": {"fused_nms": True}}, ELEVEN)
    assert [step.family for step in steps] == ["ort", "nms", "trt"]
    assert steps[1].parameters == {"way": "plugin"}
    assert made("fp32", TEN, engine={"fused_nms": "layer"}) == ["nms", "trt"]


def test_a_build_without_a_gpu_takes_a_graph_and_is_the_adapters_own():
    assert made("fp32", RTX, "trt-build") == []
    (step,) = steps_for("trt-build", "int8", {}, RTX)
    assert (step.family, step.parameters["scheme"], step.place) == ("ort", "trt", "graph")
