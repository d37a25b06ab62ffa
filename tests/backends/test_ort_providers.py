"""Which providers are asked for, with which of their own options: pure."""

from __future__ import annotations

import pytest

from pytest_inferbench.backends.ort_providers import CPU, CUDA, OPENVINO, TENSORRT, chain, emulation
from pytest_inferbench.errors import InferbenchError


def of(provider, precision="fp32", **options):
    return chain({"provider": provider, **options}, precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_tf32_is_off_on_cuda_unless_it_is_the_precision(precision):
    assert of(CUDA, precision) == [(CUDA, {"use_tf32": "0"})]
    assert of(CUDA, "tf32") == [(CUDA, {"use_tf32": "1"})]


def test_cudas_options_are_mapped():
    (_, own), *rest = of(CUDA, device_id=1, cuda_graph=True, provider_options={"gpu_mem_limit": 9})
    assert own == {
        "device_id": "1",
        "enable_cuda_graph": "1",
        "gpu_mem_limit": "9",
        "use_tf32": "0",
    }
    assert not rest


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", {"trt_fp16_enable": "0", "trt_int8_enable": "0"}),
        ("tf32", {"trt_fp16_enable": "0", "trt_int8_enable": "0"}),
        ("fp16", {"trt_fp16_enable": "1"}),
        ("bf16", {"trt_bf16_enable": "1"}),
        ("int8", {"trt_int8_enable": "1"}),
    ],
)
def test_tensorrt_has_its_precision_and_cuda_below_it(precision, flags):
    first, second = of(TENSORRT, precision, device_id=1)
    assert first == (TENSORRT, {"device_id": "1", **flags})
    assert second == (CUDA, {"device_id": "1", "use_tf32": "1" if precision == "tf32" else "0"})


def test_tensorrts_options_are_mapped():
    own = of(
        TENSORRT, "fp16", workspace_mib=512, engine_cache="e", timing_cache="t", cuda_graph=True
    )[0][1]
    assert own == {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": str(512 * 2**20),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "e",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "t",
        "trt_cuda_graph_enable": "1",
    }


def test_openvino_is_pinned_to_fp32():
    assert of(OPENVINO)[0][1] == {"precision": "FP32"}
    assert of(OPENVINO, "fp16", device_type="GPU.0")[0][1] == {
        "device_type": "GPU.0",
        "precision": "FP16",
    }
    assert of(OPENVINO, "int8", intra_op_num_threads=2)[0][1] == {"num_of_threads": "2"}


def test_a_providers_own_option_comes_before_the_friendly_one():
    own = of(CUDA, device_id=1, provider_options={"device_id": 2})[0][1]
    assert own["device_id"] == "2"


@pytest.mark.parametrize(
    ("provider", "precision", "own"),
    [
        (CUDA, "fp32", {"use_tf32": 1}),
        (CUDA, "fp32", {"use_tf32": True}),
        (CUDA, "tf32", {"use_tf32": "0"}),
        (TENSORRT, "fp32", {"trt_fp16_enable": "True"}),
        (TENSORRT, "int8", {"trt_int8_enable": False}),
        (OPENVINO, "fp32", {"precision": "FP16"}),
    ],
)
def test_what_contradicts_the_precision_is_refused(provider, precision, own):
    with pytest.raises(InferbenchError, match="contradicts") as caught:
        of(provider, precision, provider_options=own)
    assert caught.value.code == "IB-332"


def test_the_same_in_another_spelling_is_no_contradiction():
    assert of(CUDA, "fp32", provider_options={"use_tf32": False})[0][1] == {"use_tf32": "False"}


@pytest.mark.parametrize("provider", [CPU, OPENVINO, "SomeExecutionProvider"])
def test_tf32_is_nvidias(provider):
    with pytest.raises(InferbenchError, match="has no tf32") as caught:
        of(provider, "tf32")
    assert caught.value.code == "IB-332"


def test_a_friendly_option_of_another_provider_is_refused():
    with pytest.raises(InferbenchError, match="'workspace_mib' is not for CUDA") as caught:
        of(CUDA, workspace_mib=1)
    assert caught.value.code == "IB-323"
    assert "cuda_graph" in caught.value.hint


@pytest.mark.parametrize("device", ["CPU", "GPU", "GPU.1", "NPU", "AUTO", "HETERO:GPU.0,CPU"])
def test_openvinos_devices_are_passed_on(device):
    assert of(OPENVINO, device_type=device)[0][1]["device_type"] == device


@pytest.mark.parametrize("device", ["XPU", "cpu", "GPU_FP16", "GPU.", "HETERO:", ""])
def test_a_device_that_openvino_would_not_refuse_is_refused(device):
    """Its provider takes any name, and tells nobody what it then runs on."""
    with pytest.raises(InferbenchError, match="cannot be") as caught:
        of(OPENVINO, device_type=device)
    assert caught.value.code == "IB-323"


def test_openvinos_cpu_only_stores_fp16():
    asked = {"provider": OPENVINO}
    assert "f32" in emulation(asked, "fp16")
    assert emulation(asked, "fp32") is None
    assert emulation({**asked, "device_type": "GPU"}, "fp16") is None
    assert emulation({**asked, "provider_options": {"load_config": "c.json"}}, "fp16") is None
    assert emulation({}, "fp16") is None
