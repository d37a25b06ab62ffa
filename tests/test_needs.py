"""What each backend still needs, by what is there."""

from __future__ import annotations

import pytest

from pytest_inferbench.matrix import EnvironmentFacts
from pytest_inferbench.needs import standings

CPU = "cpu-test-2c"


def needs(backend, *, distributions=(), gpus=(), **fields):
    default = EnvironmentFacts("default", dict.fromkeys(distributions, "1.0"), CPU, tuple(gpus))
    environments = {"default": default}
    if fields:
        environments[backend] = EnvironmentFacts(
            backend, dict.fromkeys(distributions, "1.0"), CPU, tuple(gpus), (backend,), **fields
        )
    (found,) = [each for each in standings(environments) if each.backend == backend]
    return found


@pytest.mark.parametrize(
    ("backend", "facts", "said"),
    [
        ("ort-cpu", {}, ["pip install 'pytest-inferbench[ort]'"]),
        ("openvino", {}, ["pip install 'pytest-inferbench[openvino]'"]),
        ("ort-cuda", {"distributions": ["onnxruntime-gpu"]}, ["nvidia-smi"]),
        ("ort-cuda", {"gpus": ["nvidia-h200"]}, ["pip install 'pytest-inferbench[ort-gpu]'"]),
        ("trt", {}, ["nvidia-smi", "pip install 'pytest-inferbench[trt]'"]),
        ("trt", {"gpus": ["jetson-orin-nano-15w"]}, ["sudo apt install nvidia-jetpack"]),
        (
            "ort-openvino",
            {"distributions": ["onnxruntime"]},
            ["overwrites onnxruntime", "[environments.ort-openvino]"],
        ),
        ("ort-dml", {}, ["Windows"]),
        ("http", {}, ["[models.NAME.sources]"]),
        ("openvino", {"unreachable": "nobody answers"}, ["nobody answers"]),
        ("openvino", {"python": "/p/bin/python"}, ["/p/bin/python -m pip install openvino"]),
    ],
)
def test_what_is_missing_is_named_with_what_gets_it(backend, facts, said):
    found = needs(backend, **facts)
    text = "; ".join(found.needs)
    assert all(each in text for each in said), text
    assert found.runs_on == ()


def test_what_is_here_needs_nothing_and_says_where_it_runs():
    assert needs("ort-cpu", distributions=["onnxruntime"]).needs == ()
    assert needs("ort-cpu", distributions=["onnxruntime"]).runs_on == (CPU,)
    gpu = needs("ort-cuda", distributions=["onnxruntime-gpu"], gpus=["nvidia-h200"])
    assert (gpu.needs, gpu.runs_on) == ((), ("nvidia-h200",))
