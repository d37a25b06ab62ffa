from __future__ import annotations

import pytest

from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS
from pytest_inferbench.matrix import EnvironmentFacts, ModelAxes, build_matrix

ORT = {"onnxruntime": "1.31.1"}


def facts(name="default", **kwargs):
    return EnvironmentFacts(**{"name": name, "distributions": ORT, "cpu": "cpu-test-2c", **kwargs})


def cells(backends, precisions=("fp32",), environments=None):
    return build_matrix([ModelAxes("m", backends, precisions)], environments or [facts()])


def test_markers_are_the_ids_exactly():
    gpu = facts(distributions={"onnxruntime-gpu": "1"}, gpus=("nvidia-h200",))
    (cell,) = cells(["ort-cuda"], ["fp16"], [gpu])
    assert cell.markers == {"ort", "ort-cuda", "gpu", "fp16", "nvidia-h200"}
    assert cell.id == "m-ort-cuda-fp16-nvidia-h200"


@pytest.mark.parametrize("name", ["trt", "openvino"])
def test_native_names_do_not_carry_ort(name):
    assert "ort" not in CATALOG[name].markers


def test_every_cell_that_was_asked_for_is_there():
    asked = cells(list(CATALOG), list(PRECISIONS))
    assert len(asked) == len(CATALOG) * len(PRECISIONS)
    assert len({cell.id for cell in asked}) == len(asked)


def test_what_is_installed_with_a_recipe_can_run():
    fp32, fp8 = cells(["ort-cpu"], ["fp32", "fp8"])
    assert fp32.cannot_run is None
    assert "fp8" in fp8.cannot_run


@pytest.mark.parametrize("name", list(CATALOG))
def test_a_precision_that_a_backend_lacks_names_those_that_it_has(name):
    info = CATALOG[name]
    everywhere = facts(distributions=dict.fromkeys(info.distributions, "1"), gpus=("nvidia-a",))
    lacks = [precision for precision in PRECISIONS if precision not in info.precisions]
    for cell in cells([name], lacks, [everywhere]):
        if info.adapter and not cell.hardware.startswith("no-"):
            assert f"no {cell.precision} for {name}" in cell.cannot_run
            assert f"; it has {', '.join(info.precisions)} (" in cell.cannot_run


def test_every_reason_is_given():
    (cell,) = cells(["trt"], ["int8"])
    assert "no NVIDIA GPU" in cell.cannot_run
    assert "tensorrt is not installed" in cell.cannot_run
    assert cell.hardware == "no-nvidia"


def test_a_missing_package_names_the_extra():
    (cell,) = cells(["ort-cpu"], environments=[facts(distributions={})])
    assert "pytest-inferbench[ort]" in cell.cannot_run


def test_two_gpu_classes_are_two_cells():
    gpu = facts(distributions={"onnxruntime-gpu": "1"}, gpus=("nvidia-a", "nvidia-b"))
    assert [c.hardware for c in cells(["ort-cuda"], environments=[gpu])] == ["nvidia-a", "nvidia-b"]


def test_a_declared_environment_takes_its_backends():
    other = facts("old", backends=("ort-cpu",), hardware="cpu-declared-4c")
    (cell,) = cells(["ort-cpu"], environments=[facts(), other])
    assert (cell.environment, cell.hardware) == ("old", "cpu-declared-4c")
