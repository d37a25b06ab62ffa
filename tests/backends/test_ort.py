"""ONNX Runtime itself, on tiny models: in this process, and through a worker."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import Limits, WorkerError, launch
from pytest_inferbench.worker.protocol import pack_samples

ADAPTER = "pytest_inferbench.backends.ort:OnnxRuntime"
CPU = {"provider": "CPUExecutionProvider"}


@pytest.fixture
def make_model(tmp_path):
    def make(op="Relu", dtype=TensorProto.FLOAT, shape=(1, "n"), **attributes) -> str:
        graph = helper.make_graph(
            [helper.make_node(op, ["x"], ["y"], **attributes)],
            "tiny",
            [helper.make_tensor_value_info("x", dtype, shape)],
            [helper.make_tensor_value_info("y", dtype, shape)],
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, ir_version=10, opset_imports=opset)
        path = tmp_path / f"{op}.onnx"
        onnx.save(model, path)
        return str(path)

    return make


def opened(artifact, options=None, precision="fp32"):
    backend = OnnxRuntime()
    backend.open(artifact, {**CPU, **(options or {})}, precision)
    return backend


@pytest.mark.parametrize(
    ("declared", "dtype"),
    [
        (TensorProto.FLOAT, "float32"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.INT64, "int64"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.BOOL, "bool"),
    ],
)
def test_dtypes_and_shapes_are_what_the_model_declares(make_model, declared, dtype):
    backend = opened(make_model("Identity", declared, (1, "n", None)))
    assert backend.inputs[0].as_fields() == {"name": "x", "dtype": dtype, "shape": [1, "n", -1]}
    x = np.ones((1, 2, 3), dtype)
    output = backend.infer({"x": x})["y"]
    assert (output.shape, output.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(output, x)
    assert not np.shares_memory(output, x)


def test_inputs_in_any_layout_give_the_same(make_model):
    backend = opened(make_model(shape=(2, 3)))
    x = np.asfortranarray(np.arange(-3, 3, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(backend.infer({"x": x})["y"], np.maximum(x, 0))


def test_options_reach_the_session(make_model):
    backend = opened(
        make_model(),
        {
            "intra_op_num_threads": 1,
            "graph_optimization_level": "basic",
            "execution_mode": "sequential",
            "session_config": {"session.intra_op.allow_spinning": 0},
        },
    )
    facts = backend.describe()
    assert facts["provider"] == "CPUExecutionProvider"
    assert facts["intra_op_num_threads"] == 1
    assert facts["graph_optimization_level"] == "ORT_ENABLE_BASIC"
    chosen = backend._session.get_session_options()
    assert chosen.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_what_is_timed_brings_its_outputs_to_the_host_where_nothing_is_bound(make_model):
    x = np.full((1, 4), 2, np.float32)
    bound, unbound = opened(make_model()), opened(make_model(), {"bind": False})
    assert bound.prepare({"x": x})() is None
    np.testing.assert_array_equal(unbound.prepare({"x": x})()["y"], x)


def test_free_dimensions_are_fixed(make_model):
    backend = opened(make_model(shape=("batch", 3)), {"free_dimensions": {"batch": 2}})
    assert backend.inputs[0].shape == (2, 3)
    assert backend.outputs[0].shape == (2, 3)
    with pytest.raises(InferbenchError, match="has shape") as caught:
        backend.infer({"x": np.ones((1, 3), np.float32)})
    assert caught.value.code == "IB-322"


def test_dynamic_dimensions_take_any_size(make_model):
    backend = opened(make_model(shape=("batch", "n")))
    for shape in ((1, 1), (3, 2), (0, 4), (2, 0)):
        x = np.full(shape, -1, np.float32)
        assert backend.infer({"x": x})["y"].shape == shape


def test_outputs_outlive_the_next_call_and_the_session(make_model):
    backend = opened(make_model())
    first = backend.infer({"x": np.full((1, 4), 1, np.float32)})["y"]
    second = backend.infer({"x": np.full((1, 4), 2, np.float32)})["y"]
    first[:] = 7
    assert second.tolist() == [[2, 2, 2, 2]]
    backend.close()
    assert first.tolist() == [[7, 7, 7, 7]]


def test_four_threads_at_once_get_their_own_answers(make_model):
    backend = opened(make_model("Softmax"))
    inputs = [np.random.default_rng(seed).normal(size=(1, 64)) for seed in range(4)]
    inputs = [each.astype(np.float32) for each in inputs]
    expected = [backend.infer({"x": each})["y"] for each in inputs]

    def repeat(which):
        for _ in range(200):
            np.testing.assert_array_equal(backend.infer({"x": inputs[which]})["y"], expected[which])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(repeat, range(4)))


def test_sessions_open_from_several_threads(make_model):
    artifact = make_model()

    def work(value):
        for _ in range(10):
            backend = opened(artifact, {"intra_op_num_threads": 1})
            given = backend.infer({"x": np.full((1, 3), value, np.float32)})["y"]
            backend.close()
            assert given.tolist() == [[value] * 3]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"intra_op_threads": 1}, "IB-323", "did you mean 'intra_op_num_threads'"),
        ({"graph_optimization_level": "most"}, "IB-323", "cannot be 'most'"),
        ({"intra_op_num_threads": "two"}, "IB-323", "cannot be 'two'"),
        ({"provider": "NoSuchProvider"}, "IB-324", "has no NoSuchProvider"),
        ({"cuda_graph": True}, "IB-323", "'cuda_graph' is not for CPUExecutionProvider"),
        ({"concurrent": True}, "IB-323", "'concurrent' is not for CPUExecutionProvider"),
        ({"free_dimensions": {"n": "two"}}, "IB-323", "free_dimensions.n' cannot be 'two'"),
        ({"session_config": "none"}, "IB-323", "'session_config' cannot be 'none'"),
        ({"bind": "no"}, "IB-323", "'bind' cannot be 'no'"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(make_model, options, code, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        opened(make_model(), options)
    assert caught.value.code == code
    assert caught.value.hint


def test_an_unknown_option_lists_those_of_its_own_provider(make_model):
    own = {
        "CPUExecutionProvider": set(),
        "CUDAExecutionProvider": {"device_id", "cuda_graph", "concurrent"},
        "OpenVINOExecutionProvider": {"device_type"},
    }
    others = {*set.union(*own.values()), "workspace_mib", "engine_cache", "timing_cache"}
    for provider, friendly in own.items():
        with pytest.raises(InferbenchError, match="unknown option 'zzz'") as caught:
            opened(make_model(), {"provider": provider, "preload": "none", "zzz": 1})
        listed = set(caught.value.hint.removeprefix("Known: ").removesuffix(".").split(", "))
        assert listed & others == friendly, provider
        assert "intra_op_num_threads" in listed


def test_libraries_to_preload_must_be_there(make_model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    cuda = {"provider": "CUDAExecutionProvider"}
    for preload in ("torch", str(tmp_path / "none")):
        with pytest.raises(InferbenchError, match="'preload' cannot be") as caught:
            opened(make_model(), {**cuda, "preload": preload})
        assert caught.value.code == "IB-323"


def test_a_gpu_provider_without_its_libraries_is_refused(make_model):
    """What the wheel of ONNX Runtime for GPUs does on a machine without one."""
    import onnxruntime as ort

    there = set(ort.get_available_providers())
    asked = sorted(there & {"CUDAExecutionProvider", "TensorrtExecutionProvider"})
    if not asked or Path("/dev/nvidiactl").exists():
        pytest.skip("no wheel for GPUs here, or a GPU")
    for provider in asked:
        with pytest.raises(InferbenchError, match=f"{provider} was asked for") as caught:
            opened(make_model(), {"provider": provider})
        assert caught.value.code == "IB-324"


def test_tf32_is_refused_where_there_is_none(make_model):
    with pytest.raises(InferbenchError, match="CPUExecutionProvider has no tf32") as caught:
        opened(make_model(), precision="tf32")
    assert caught.value.code == "IB-332"


def test_a_missing_or_broken_file_is_an_error(tmp_path):
    with pytest.raises(InferbenchError, match="there is no file") as caught:
        opened(str(tmp_path / "none.onnx"))
    assert caught.value.code == "IB-326"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(InferbenchError, match="could not load") as caught:
        opened(str(broken))
    assert caught.value.code == "IB-326"


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_session_that_fell_back_is_refused(make_model, monkeypatch, provider):
    """The runtime hands back a session on another provider without an error: seen with CUDA."""
    import onnxruntime as ort

    real = ort.get_available_providers()
    if provider in real:
        pytest.skip("the provider is built in")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider, *real])
    with (
        pytest.warns(UserWarning, match="not in available"),
        pytest.raises(InferbenchError) as caught,
    ):
        opened(make_model(), {"provider": provider, "preload": "none"})
    assert caught.value.code == "IB-324"
    assert f"{provider} was asked for and CPUExecutionProvider ran" in caught.value.message


def test_through_a_worker_it_opens_infers_samples_and_closes(make_model):
    with launch(limits=Limits(memory_mib=4096), modules=[ADAPTER]) as worker:
        fields = {"backend_module": ADAPTER, "artifact": make_model(), "options": CPU}
        opening = worker.call("open", fields).fields
        assert opening["open_ms"] > 0
        assert opening["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, "n"]}]
        assert opening["ran"]["provider"] == "CPUExecutionProvider"
        assert "numpy" in opening["versions"]
        assert any(name.startswith("onnxruntime") for name in opening["versions"])
        samples = [{"x": np.full((1, size), -1, np.float32)} for size in (3, 300)]
        assert worker.call("infer", {}, samples[0]).arrays["y"].max() == 0
        timing = {"duration_s": 0.1, "warmup_floor_s": 0.02, "packed": True}
        reply = worker.call("sample", timing, pack_samples(samples))
        assert reply.arrays["ns"].size > 10
        assert reply.arrays["ns"].min() > 0
        assert reply.fields["calls_per_sample"] > 1
        assert min(reply.fields["probes_ms"]) > 0
        assert 0 <= reply.fields["other_share"] <= 1
        assert reply.fields["percentiles_ms"]["p50"] > 0
        usage = worker.call("memory", {"calls": 50}, samples[1]).fields
        assert usage["start_mib"] < usage["rss_mib"] <= usage["peak_mib"] * 1.05
        worker.call("close")
        with pytest.raises(WorkerError, match="no artifact is open"):
            worker.call("infer", {}, samples[0])
        worker.call("open", fields)


def test_what_the_runtime_raises_is_named_and_survived(make_model):
    with launch(modules=[ADAPTER]) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.call("open", {"backend_module": ADAPTER, "artifact": make_model("NoSuchOp")})
        assert caught.value.code == "IB-326"
        assert "NoSuchOp" in caught.value.message
        worker.call("open", {"backend_module": ADAPTER, "artifact": make_model()})


def test_building_needs_the_familys_recipes():
    with launch() as worker, pytest.raises(WorkerError) as caught:
        worker.call("build", {"family": "none", "recipe": {}, "model": "m", "output": "o"})
    assert caught.value.code == "IB-312"
