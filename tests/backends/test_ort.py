"""ONNX Runtime itself, on tiny models: in this process, and through a worker."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"intra_op_threads": 1}, "IB-323", "did you mean 'intra_op_num_threads'"),
        ({"graph_optimization_level": "most"}, "IB-323", "cannot be 'most'"),
        ({"intra_op_num_threads": "two"}, "IB-323", "cannot be 'two'"),
        ({"provider": "NoSuchProvider"}, "IB-324", "has no NoSuchProvider"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(make_model, options, code, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        opened(make_model(), options)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_missing_or_broken_file_is_an_error(tmp_path):
    with pytest.raises(InferbenchError, match="there is no file") as caught:
        opened(str(tmp_path / "none.onnx"))
    assert caught.value.code == "IB-326"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(InferbenchError, match="could not load") as caught:
        opened(str(broken))
    assert caught.value.code == "IB-326"


def test_a_session_that_fell_back_is_refused(make_model, monkeypatch):
    """The runtime hands back a session on another provider without an error: seen with CUDA."""
    import onnxruntime as ort

    real = ort.get_available_providers()
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", *real])
    with pytest.raises(InferbenchError) as caught:
        opened(make_model(), {"provider": "CUDAExecutionProvider"})
    assert caught.value.code == "IB-324"
    assert "CPUExecutionProvider" in caught.value.message


def test_through_a_worker_it_opens_infers_samples_and_closes(make_model):
    with launch(limits=Limits(memory_mib=4096), modules=[ADAPTER]) as worker:
        fields = {"backend_module": ADAPTER, "artifact": make_model(), "options": CPU}
        opening = worker.call("open", fields).fields
        assert opening["open_ms"] > 0
        assert opening["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, "n"]}]
        assert opening["ran"]["provider"] == "CPUExecutionProvider"
        assert {"onnxruntime", "numpy"} <= set(opening["versions"])
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
