"""TensorRT for RTX itself, without a GPU: what it compiles, and what it says if it does not."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.backends.trt_build import TensorRtBuild
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import Limits, launch

pytest.importorskip("tensorrt_rtx_bindings")
ADAPTER = "pytest_inferbench.backends.trt_build:TensorRtBuild"
ONE = {"compute_capabilities": ["8.6"]}


def model_of(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, list(weights))
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=10, opset_imports=opset)


def tensor(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture
def saved(tmp_path):
    def save(nodes, inputs, outputs, weights=(), name="tiny") -> str:
        path = tmp_path / f"{name}.onnx"
        onnx.save(model_of(nodes, inputs, outputs, weights), path)
        return str(path)

    return save


@pytest.fixture
def detector(saved):
    """Two convolutions with a residual, for images of any batch."""
    rng = np.random.default_rng(3)

    def weight(name, *shape):
        return numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "r"], ["y"], name="add"),
    ]
    weights = [weight("w1", 16, 3, 3, 3), weight("b1", 16)]
    weights += [weight("w2", 16, 16, 3, 3), weight("b2", 16)]
    return saved(nodes, [tensor("x", ["n", 3, 16, 16])], [tensor("y", ["n", 16, 16, 16])], weights)


@pytest.fixture
def quantized(detector, tmp_path):
    """Quantized by ONNX Runtime, with its defaults or with what TensorRT takes."""
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Samples(quantization.CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(5)
            self.left = [{"x": rng.random((1, 3, 16, 16), np.float32)} for _ in range(4)]

        def get_next(self):
            return self.left.pop() if self.left else None

    def quantize(**options) -> str:
        path = str(tmp_path / "quantized.onnx")
        with redirect_stdout(io.StringIO()):
            quantization.quantize_static(detector, path, Samples(), **options)
        return path

    return quantize


def trt_scheme():
    from onnxruntime.quantization import QuantType

    return {
        "per_channel": True,
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True, "QuantizeBias": False},
    }


def opened(artifact, options=None, precision="fp32"):
    backend = TensorRtBuild()
    backend.open(artifact, ONE if options is None else options, precision)
    return backend


def refused(artifact, options=None, precision="fp32"):
    with pytest.raises(InferbenchError) as caught:
        opened(artifact, options, precision)
    return caught.value


def test_a_model_compiles_for_every_capability_and_each_has_its_size(detector):
    backend = opened(detector, {})
    facts = backend.describe()
    assert list(facts["capabilities"]) == ["8.0", "8.6", "8.9", "12.0"]
    assert all(each["plan_bytes"] > 16 * 16 * 9 * 4 for each in facts["capabilities"].values())
    assert facts["precisions"] == {"fp32": 4}
    assert facts["provider"].startswith("tensorrt-rtx 1.")
    assert facts["profiles"]["x"]["max"] == [8, 3, 16, 16]
    assert backend.inputs[0].as_fields() == {
        "name": "x",
        "dtype": "float32",
        "shape": [-1, 3, 16, 16],
    }
    assert backend.outputs[0].name == "y"
    backend.close()


def test_it_never_runs_and_says_so(detector):
    assert TensorRtBuild.runs is False
    backend = opened(detector)
    with pytest.raises(InferbenchError, match="only builds") as caught:
        backend.infer({"x": np.zeros((1, 3, 16, 16), np.float32)})
    assert caught.value.code == "IB-360"


def test_a_converted_graph_computes_in_fp16_and_one_that_is_not_is_refused(detector, tmp_path):
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    half = float16.convert_float_to_float16(onnx.load(detector), keep_io_types=True)
    onnx.save(half, tmp_path / "half.onnx")
    facts = opened(str(tmp_path / "half.onnx"), precision="fp16").describe()
    assert facts["precisions"] == {"fp16": 4}
    error = refused(detector, precision="fp16")
    assert error.code == "IB-368"
    assert "4 in fp32" in error.message
    assert "recipe fp16" in error.hint


def test_a_symmetric_quantized_graph_computes_in_int8(quantized):
    facts = opened(quantized(**trt_scheme()), precision="int8").describe()
    assert facts["precisions"]["int8"] == 2
    assert facts["capabilities"]["8.6"]["plan_bytes"] > 0


def test_the_default_quantized_graph_is_refused_and_the_recipe_named(quantized):
    error = refused(quantized(), precision="int8")
    assert error.code == "IB-362"
    assert "quantizeLinear]" in error.message
    assert "int8-trt" in error.hint


def test_a_graph_that_is_not_quantized_is_no_int8(detector):
    error = refused(detector, precision="int8")
    assert error.code == "IB-368"
    assert "int8-trt" in error.hint


@pytest.fixture
def eight_bit_floats(tmp_path):
    """A convolution between Q/DQ nodes of fp8."""
    kernel = np.random.default_rng(1).normal(0, 0.2, (16, 16, 3, 3)).astype(np.float32)
    scale = numpy_helper.from_array(np.array(0.05, np.float32), "scale")
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    nodes = [
        helper.make_node(op, [x, "scale", "zero"], [y], name=y)
        for op, x, y in (
            ("QuantizeLinear", "x", "xq"),
            ("DequantizeLinear", "xq", "xd"),
            ("QuantizeLinear", "w", "wq"),
            ("DequantizeLinear", "wq", "wd"),
        )
    ]
    nodes.append(helper.make_node("Conv", ["xd", "wd"], ["y"], name="conv"))
    inputs, outputs = [tensor("x", [1, 16, 16, 16])], [tensor("y", [1, 16, 14, 14])]
    weights = [numpy_helper.from_array(kernel, "w"), scale, zero]
    graph = helper.make_graph(nodes, "eight", inputs, outputs, weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])
    onnx.save(model, tmp_path / "eight.onnx")
    return str(tmp_path / "eight.onnx")


def test_fp8_compiles_where_there_is_fp8_and_says_where_there_is_none(eight_bit_floats):
    facts = opened(eight_bit_floats, {}, "fp8").describe()
    assert list(facts["capabilities"]) == ["8.9", "12.0"]
    assert facts["precisions"] == {"fp8": 1}
    error = refused(eight_bit_floats, {"compute_capabilities": ["8.6", "8.9"]}, "fp8")
    assert error.code == "IB-365"
    assert "does not compile for 8.6; compiles for 8.9" in error.message
    assert "no arithmetic of that type" in error.hint


def test_every_node_that_cannot_be_parsed_is_named(saved):
    nodes = [
        helper.make_node("NoSuchOp", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("NoSuchOpEither", ["b"], ["y"], name="last"),
    ]
    error = refused(saved(nodes, [tensor("x", [1, 4])], [tensor("y", [1, 4])]))
    assert error.code == "IB-362"
    assert "node 0 first [NoSuchOp]" in error.message
    assert "node 2 last [NoSuchOpEither]" in error.message
    assert "NoSuchOp, NoSuchOpEither" in error.hint


def test_what_is_no_model_is_an_error_of_ours(tmp_path):
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"garbage" * 9)
    assert refused(str(path)).code == "IB-362"
    assert refused(str(tmp_path / "missing.onnx")).code == "IB-326"


def test_an_open_dimension_needs_a_profile_and_takes_one(saved):
    path = saved(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        [tensor("x", ["n", "length"])],
        [tensor("y", ["n", "length"])],
    )
    error = refused(path)
    assert error.code == "IB-363"
    assert "'x'" in error.message
    profile = {"x": {"min": [1, 1], "opt": [1, 16], "max": [4, 64]}}
    assert opened(path, {**ONE, "profiles": profile}).describe()["profiles"] == profile


def test_an_input_that_is_a_shape_takes_values(saved):
    path = saved(
        [helper.make_node("Reshape", ["x", "to"], ["y"], name="r")],
        [tensor("x", [8]), tensor("to", [2], TensorProto.INT64)],
        [tensor("y", ["a", "b"])],
    )
    assert refused(path).code == "IB-363"
    asked = {"to": {"min": [1, 1], "opt": [2, 4], "max": [8, 8]}}
    assert opened(path, {**ONE, "profiles": asked}).describe()["capabilities"]["8.6"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"compute_capabilities": ["8.6", "9.0"]}, "IB-376"),
        ({"compute_capabilities": ["eight"]}, "IB-376"),
        ({"compute_capabilites": ["8.6"]}, "IB-323"),
        ({"builder_level": 9}, "IB-323"),
        ({"workspace_mib": "many"}, "IB-323"),
        ({"plugins": ["no-such-library.so"]}, "IB-361"),
        ({"profiles": {"z": {"min": [1], "max": [1]}}}, "IB-364"),
    ],
)
def test_options_that_cannot_be_are_refused(detector, options, code):
    assert refused(detector, {**ONE, **options}).code == code


def test_an_unknown_option_lists_what_a_build_takes(detector):
    error = refused(detector, {**ONE, "cuda_graph": True})
    listed = set(error.hint.removeprefix("Known: ").removesuffix(".").split(", "))
    assert {"fused_nms", "profiles", "compute_capabilities"} <= listed
    assert not listed & {"device_id", "cuda_graphs", "calibration_cache"}  # those of trt


def test_options_reach_the_builder(detector):
    options = {**ONE, "builder_level": 1, "workspace_mib": 64, "timing_cache": "unused.cache"}
    assert opened(detector, options).describe()["capabilities"]["8.6"]["plan_bytes"] > 0


def test_a_refusal_says_for_what_it_compiles_and_for_what_not(saved):
    """TensorRT for RTX 1.7 parses NonMaxSuppression, and has nothing that would run it."""
    path = saved(
        [helper.make_node("NonMaxSuppression", ["b", "s", "k"], ["y"], name="nms")],
        [tensor("b", [1, 8, 4]), tensor("s", [1, 2, 8])],
        [tensor("y", ["n", 3], TensorProto.INT64)],
        [numpy_helper.from_array(np.array([4], np.int64), "k")],
    )
    error = refused(path, {"compute_capabilities": ["8.6", "8.9"]})
    assert error.code == "IB-365"
    assert "does not compile for 8.6, 8.9; compiles for none" in error.message
    assert 'fused_nms = "loop"' in error.hint


def test_a_worker_builds_too(detector, tmp_path):
    worker = launch(limits=Limits(), modules=[ADAPTER.partition(":")[0]])
    try:
        reply = worker.call(
            "open", {"backend_module": ADAPTER, "artifact": detector, "options": ONE}
        )
        assert reply.fields["ran"]["capabilities"]["8.6"]["plan_bytes"] > 0
        assert "tensorrt-rtx-cu13-bindings" in reply.fields["versions"]
    finally:
        worker.close()
