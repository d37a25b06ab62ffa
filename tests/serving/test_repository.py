"""Repositories: what a configuration says for a variant, and the files of a version."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tritonclient.grpc")

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.repository import (
    ensemble_config,
    model_config,
    read_config,
    signature_from,
    write_repository,
)
from pytest_inferbench.serving.variant import Variant

X = (TensorSpec("x", "float32", ("batch", 8)),)
Y = (TensorSpec("y", "float16", ("batch", 4)), TensorSpec("text", "string", (-1,)))


def config_of(fields, file_name="model.onnx"):
    return model_config("m", Variant.from_fields(fields), file_name, X, Y)


def test_as_by_default():
    config = config_of({})
    assert config.backend == "onnxruntime"
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [-1, 8]
    assert [str(each.data_type) for each in config.output] == ["10", "13"]  # FP16, STRING
    (group,) = config.instance_group
    assert (group.kind, group.count) == (group.KIND_CPU, 1)
    assert not config.HasField("dynamic_batching")


def test_batching_leaves_the_batch_out_of_the_shape():
    config = config_of(
        {
            "batching": True,
            "preferred_batch_sizes": [4, 8],
            "queue_delay_us": 500,
            "max_queue_size": 16,
            "queue_timeout_us": 1000,
            "timeout_action": "delay",
        }
    )
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [8]
    assert list(config.output[1].dims) == [1], "a server's tensors have a dimension"
    assert config.output[1].HasField("reshape")
    assert list(config.output[1].reshape.shape) == []
    batching = config.dynamic_batching
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.max_queue_delay_microseconds == 500
    policy = batching.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (16, 1000)
    assert policy.timeout_action == policy.DELAY


def test_on_gpus_with_tensorrt():
    config = config_of(
        {
            "device": "gpu",
            "gpus": [0, 2],
            "instances": 2,
            "accelerator": "tensorrt",
            "accelerator_parameters": {
                "precision_mode": "FP16",
                "max_workspace_size_bytes": 1 << 30,
                "trt_engine_cache_enable": True,
            },
            "cuda_graphs": True,
        }
    )
    (group,) = config.instance_group
    assert (group.kind, group.count, list(group.gpus)) == (group.KIND_GPU, 2, [0, 2])
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": "1073741824",
        "trt_engine_cache_enable": "true",
        "trt_cuda_graph_enable": "1",
    }


def test_on_the_cpu_with_openvino():
    config = config_of({"accelerator": "openvino", "accelerator_parameters": {"num_of_threads": 2}})
    (accelerator,) = config.optimization.execution_accelerators.cpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("openvino", {"num_of_threads": "2"})


def test_a_plan_with_cuda_graphs():
    config = config_of({"runtime": "tensorrt", "device": "gpu", "cuda_graphs": True}, "net.engine")
    assert config.backend == "tensorrt"
    assert config.default_model_filename == "model.plan"
    assert config.optimization.cuda.graphs


def test_the_cache_and_free_parameters():
    config = config_of({"response_cache": True, "parameters": {"intra_op_thread_count": 1}})
    assert config.response_cache.enable
    assert config.parameters["intra_op_thread_count"].string_value == "1"


def test_an_ensemble_passes_inputs_on():
    config = ensemble_config("all", 8, ("before", "core"), X, Y)
    assert config.platform == "ensemble"
    first, last = config.ensemble_scheduling.step
    assert dict(first.input_map) == {"x": "x"}
    assert dict(first.output_map) == {"x": "x-1"}
    assert dict(last.input_map) == {"x": "x-1"}
    assert dict(last.output_map) == {"y": "y", "text": "text"}


def test_a_repository_with_a_model_before(tmp_path, net):
    before = tmp_path / "scale.py"
    before.write_text("class TritonPythonModel: pass\n")
    folder = tmp_path / "models"
    served = write_repository(folder, "m", net, Variant(preprocess=str(before)))
    assert served.models == ("m-preprocess", "m-model", "m")
    assert [spec.name for spec in served.inputs] == ["x"]
    assert (folder / "m-preprocess" / "1" / "model.py").read_text() == before.read_text()
    assert (folder / "m-model" / "1" / "model.onnx").read_bytes() == net.read_bytes()
    assert (folder / "m" / "1").is_dir()
    assert read_config(folder / "m-preprocess" / "config.pbtxt").backend == "python"
    assert read_config(folder / "m" / "config.pbtxt").platform == "ensemble"


def test_weights_beside_the_file_come_along(tmp_path, net):
    import onnx

    source = tmp_path / "model.onnx"
    (tmp_path / "weights").mkdir()
    onnx.save(
        onnx.load(net),
        source,
        save_as_external_data=True,
        location="weights/w.bin",
        size_threshold=0,
    )
    write_repository(tmp_path / "models", "m", source, Variant())
    kept = tmp_path / "models" / "m" / "1" / "weights" / "w.bin"
    assert kept.read_bytes() == (tmp_path / "weights" / "w.bin").read_bytes()


def test_an_ir_keeps_its_name_and_its_weights(tmp_path):
    openvino = pytest.importorskip("openvino")
    import numpy as np

    x = openvino.opset13.parameter([-1, 8], np.float32, name="x")
    y = openvino.opset13.matmul(x, np.ones((8, 4), np.float32), False, False)
    x.output(0).set_names({"x"})
    y.output(0).set_names({"y"})
    openvino.save_model(openvino.Model([y], [x]), tmp_path / "net.xml", compress_to_fp16=False)
    served = write_repository(
        tmp_path / "models", "m", tmp_path / "net.xml", Variant(runtime="openvino")
    )
    assert served.inputs == (TensorSpec("x", "float32", (-1, 8)),)
    assert served.outputs == (TensorSpec("y", "float32", (-1, 4)),)
    names = {each.name for each in (tmp_path / "models" / "m" / "1").iterdir()}
    assert names == {"net.xml", "net.bin"}


@pytest.mark.parametrize(
    ("shape", "fields", "said"),
    [
        ([1, 8], {"batching": True}, "has no dynamic first dimension"),
        ([1, 8], {"max_batch_size": 4}, "has no dynamic first dimension"),
    ],
)
def test_a_fixed_batch_cannot_be_batched(tmp_path, make_net, shape, fields, said):
    path = make_net(tmp_path / "fixed.onnx", shape, [1, 4])
    with pytest.raises(InferbenchError, match=said) as caught:
        write_repository(tmp_path / "models", "m", path, Variant.from_fields(fields))
    assert caught.value.code == "IB-806"


def test_what_cannot_be_served(tmp_path, net):
    no_rank = (TensorSpec("x", "float32", None),)
    with pytest.raises(InferbenchError, match="without a rank"):
        model_config("m", Variant(), "model.onnx", no_rank, Y)
    with pytest.raises(InferbenchError, match="is a scalar"):
        model_config("m", Variant(), "model.onnx", (TensorSpec("x", "float32", ()),), Y)
    odd = (TensorSpec("x", "float8_e4m3fn", (1,)),)
    with pytest.raises(InferbenchError, match="no Triton server carries"):
        model_config("m", Variant(), "model.onnx", odd, Y)
    with pytest.raises(InferbenchError, match=r"serves \.plan or \.engine"):
        write_repository(tmp_path, "m", net, Variant(runtime="tensorrt", device="gpu"))
    with pytest.raises(InferbenchError, match="there is no file"):
        write_repository(tmp_path, "m", Path("nowhere.onnx"), Variant())
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"")
    with pytest.raises(InferbenchError, match="does not tell what it takes"):
        write_repository(tmp_path, "m", plan, Variant(runtime="tensorrt", device="gpu"))


def test_a_plan_with_its_signature(tmp_path):
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"an engine")
    told = {
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 8]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 4]}],
    }
    variant = Variant(runtime="tensorrt", device="gpu", batching=True)
    served = write_repository(tmp_path / "r", "m", plan, variant, signature_from(told))
    assert served.batch_limit == 8
    assert (tmp_path / "r" / "m" / "1" / "model.plan").read_bytes() == b"an engine"


def test_a_file_that_is_no_configuration(tmp_path):
    (tmp_path / "config.pbtxt").write_text("name: [")
    with pytest.raises(InferbenchError, match="is no model configuration") as caught:
        read_config(tmp_path / "config.pbtxt")
    assert caught.value.code == "IB-809"
