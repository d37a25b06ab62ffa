"""OpenVINO itself, on tiny models and the detector: names, types, options, threads, the cache."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from pytest_inferbench.artifacts.fusion import fused_layers
from pytest_inferbench.artifacts.outline import Outline
from pytest_inferbench.backends import openvino_facts as facts
from pytest_inferbench.backends.blob_seals import drop_broken, seal_new
from pytest_inferbench.backends.openvino_models import read_model
from pytest_inferbench.backends.openvino_native import OpenVino
from pytest_inferbench.backends.openvino_options import check_device, properties
from pytest_inferbench.builtin import model_path
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import launch

pytest.importorskip("openvino")
ADAPTER = "pytest_inferbench.backends.openvino_native:OpenVino"
INTEGERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
DTYPES = ["float16", "float32", "float64", *INTEGERS, "bool"]


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "model.onnx"
        onnx.save(parser.parse_model(f'<ir_version: 8, opset_import: ["" : 19]> g {text}'), path)
        return str(path)

    return write


def opened(artifact, precision="fp32", **options):
    backend = OpenVino()
    backend.open(str(artifact), options, precision)
    return backend


def refusal(call, *args, **kwargs):
    with pytest.raises(InferbenchError) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_shapes_and_values_pass_unchanged(tmp_path, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, kind, (1, "n", 2)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), tmp_path / "m.onnx")
    backend = opened(tmp_path / "m.onnx")
    assert backend.inputs[0].as_fields() == {"name": "x", "dtype": dtype, "shape": [1, -1, 2]}
    for rows in (0, 1, 3):
        given = (np.arange(2 * rows).reshape(1, rows, 2) % 3).astype(dtype)
        given.flags.writeable = False
        output = backend.infer({"x": given})["y"]
        assert (output.dtype, output.shape) == (given.dtype, given.shape)
        np.testing.assert_array_equal(output, given)


@pytest.mark.parametrize("kind", ["bfloat16", "string"])
def test_types_that_numpy_has_not_are_refused(written, kind):
    error = refusal(opened, written(f"({kind}[n] x) => ({kind}[n] y) {{ y = Identity(x) }}"))
    assert error.code == "IB-340"
    assert "'x'" in error.message


@pytest.mark.parametrize("as_ir", [False, True], ids=["onnx", "ir"])
@pytest.mark.parametrize(
    ("text", "takes", "gives"),
    [
        ("(float[n] x) => (float[n] y) { y = Identity(x) }", ["x"], ["y"]),
        (
            "(float[n] x, int64[2] unused) => (float[n] z, float[n] y, float[n] a)"
            "{ y = Relu(x)\n z = Identity(y)\n a = Identity(z) }",
            ["x", "unused"],
            ["z", "y", "a"],
        ),
        (
            "(float[2, n] x) => (float[1, n] b, float[1, n] a) { b, a = Split<axis = 0>(x) }",
            ["x"],
            ["b", "a"],
        ),
        ("(float x) => (float y) { y = Relu(x) }", ["x"], ["y"]),
        # OpenVINO hands x on under the name y, and makes a constant of what can only be empty.
        (
            "(float[2] v, float[2] x, float[2] u) => (float[2] y, float[2] w)"
            "{ y = Dropout(x)\n w = Add(u, v) }",
            ["v", "x", "u"],
            ["y", "w"],
        ),
        (
            "(float[2] x, int64[0] axes, int32[0, n] like) => (float[1] y, int32[2] z)"
            "{ y = ReduceSum(x, axes)\n z = CastLike(x, like) }",
            ["x", "like", "axes"],
            ["y", "z"],
        ),
    ],
)
def test_names_are_those_of_the_onnx_file(written, tmp_path, as_ir, text, takes, gives):
    path = written(text)
    if as_ir:
        ov = facts.load_openvino()
        ov.save_model(read_model(path), tmp_path / "model.xml")
        path = tmp_path / "model.xml"
    backend = opened(path)
    assert [spec.name for spec in backend.inputs] == takes
    assert [spec.name for spec in backend.outputs] == gives
    shapes = {spec.name: [3 if d == -1 else d for d in spec.shape] for spec in backend.inputs}
    given = {spec.name: np.full(shapes[spec.name], -2, spec.dtype) for spec in backend.inputs}
    assert list(backend.infer(given)) == gives


def test_the_detector_gives_what_onnx_runtime_gives():
    ort = pytest.importorskip("onnxruntime")
    image = np.random.default_rng(0).random((2, 3, 192, 192), np.float32)
    session = ort.InferenceSession(model_path(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"images": image})[0]
    backend = opened(model_path())
    np.testing.assert_allclose(backend.infer({"images": image})["output0"], expected, atol=2e-3)
    ran = backend.describe()
    assert ran["device"] == "CPU"
    assert ran["precision_hint"] == "f32"
    assert set(ran["precisions"]) == {"fp32"}
    assert ran["precisions"]["fp32"] >= 63  # its convolutions
    assert ran["placement"] == {"CPU": ran["precisions"]["fp32"]}
    assert ran["fallback"] == []
    assert "emulated" not in ran


def convs(path, *names):
    """Write three pairs of Conv and Relu, under such names."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3), "w1": (8, 8, 3, 3), "w2": (8, 8, 1, 1)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], names[0], **same),
        helper.make_node("Relu", ["c0"], ["r0"], names[1]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], names[2], **same),
        helper.make_node("Relu", ["c1"], ["r1"], names[3]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], names[4]),
        helper.make_node("Relu", ["c2"], ["y"], names[5]),
    ]
    x = helper.make_tensor_value_info("x", 1, (1, 3, 16, 16))
    y = helper.make_tensor_value_info("y", 1, (1, 8, 16, 16))
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    return path


@pytest.mark.parametrize("form", ["onnx", "ir"])
def test_what_runs_as_one_is_told_by_the_nodes_of_the_file(tmp_path, form):
    """Two nodes have no name, two have commas in theirs, and one gives an output."""
    model = artifact = convs(tmp_path / "m.onnx", "/conv", "/relu", "", "", "a,b", "the,end")
    if form == "ir":
        artifact = tmp_path / "m.xml"
        facts.load_openvino().save_model(read_model(str(model)), artifact)
    backend = opened(artifact)
    told = backend.placement()
    assert set(told) == {"placement", "fallback", "precisions", "fused"}
    assert "fused" not in backend.describe(), "it is as long as the model, and few need it"
    layers = fused_layers(told["fused"], Outline(model))
    assert [each.nodes for each in layers] == [
        ("/conv", "/relu"),
        ("Conv_2", "Relu_3"),
        ("a,b", "the,end"),
    ]
    assert all(each.layer.startswith("Convolution (") for each in layers)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_precision_that_the_device_has_not_is_said_to_be_emulated(precision):
    ov = facts.load_openvino()
    able = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    ran = opened(model_path(), precision).describe()
    if precision.upper() in able:
        assert "emulated" not in ran
        assert precision in ran["precisions"]
    else:
        assert f"no {precision}" in ran["emulated"]
        assert precision not in ran["precisions"]


def test_a_prepared_call_computes_each_time(written):
    backend = opened(written("(float[n] x) => (float[n] y) { y = Add(x, x) }"))
    x = np.ones(4, np.float32)
    run = backend.prepare({"x": x})
    (first,) = run().to_tuple()
    assert first.tolist() == [2, 2, 2, 2]
    x[:] = 21
    (second,) = run().to_tuple()
    assert second.tolist() == [42, 42, 42, 42]


def test_outputs_are_owned_and_inputs_left_alone(written):
    backend = opened(written("(float[n] x) => (float[n] y) { y = Relu(x) }"))
    x = np.array([-1, 2], np.float32)
    first = backend.infer({"x": x})["y"]
    backend.infer({"x": np.array([7, 8], np.float32)})
    assert first.tolist() == [0, 2]
    assert x.tolist() == [-1, 2]


def test_an_error_of_the_runtime_leaves_it_usable(written):
    backend = opened(
        written("(float[n, m] x, float[k, l] w) => (float[n, l] y) {y = MatMul(x, w)}")
    )
    x = np.ones((2, 3), np.float32)
    with pytest.raises(RuntimeError):
        backend.infer({"x": x, "w": np.ones((4, 1), np.float32)})
    assert backend.infer({"x": x, "w": np.ones((3, 1), np.float32)})["y"].tolist() == [[3], [3]]


def images(*shape):
    return {"images": np.random.default_rng(0).random((*shape, 3, 192, 192), np.float32)}


def test_a_refused_batch_does_not_spoil_those_after_it():
    """OpenVINO by itself refuses them too: its graph keeps the shapes that it failed with."""
    backend = opened(model_path())
    prepared = backend.prepare(images(1))
    spoilt = backend.prepare(images(0))
    before = backend.infer(images(1))["output0"]
    for refused in (lambda: backend.infer(images(0)), spoilt, spoilt):
        with pytest.raises(RuntimeError, match="batch_size"):
            refused()
        assert np.array_equal(prepared().to_tuple()[0], before)
        for rows in (1, 2, 1):
            assert len(backend.infer(images(rows))["output0"]) == rows
        assert np.array_equal(backend.infer(images(1))["output0"], before)
    assert backend.describe()["placement"]["CPU"] >= 63


def test_a_thread_s_refused_batches_do_not_fail_those_of_another():
    backend = opened(model_path())
    expected = backend.infer(images(1))["output0"]
    refused, wrong = [], []

    def work(rows):
        for _ in range(4):
            try:
                output = backend.infer(images(rows))["output0"]
            except RuntimeError as error:
                refused.append((rows, error))
            else:
                wrong.extend([] if np.array_equal(output, expected) else [output])

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (0, 1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [rows for rows, _ in refused] == [0] * 4
    assert not wrong


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_threads_at_once_each_get_their_own(hint):
    backend = opened(model_path(), hint=hint, inference_num_threads=2)
    images = np.random.default_rng(0).random((4, 1, 3, 192, 192), np.float32)
    alone = [backend.infer({"images": image})["output0"] for image in images]
    wrong = []

    def work(index):
        for _ in range(5):
            output = backend.infer({"images": images[index]})["output0"]
            if not np.array_equal(output, alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert backend.describe()["hint"] == hint.upper()


def test_options_reach_the_compiled_model(written):
    ran = opened(
        written("(float[n] x) => (float[n] y) { y = Relu(x) }"),
        num_streams=1,
        inference_num_threads=1,
        config={"ENABLE_CPU_PINNING": False},
    ).describe()
    assert (ran["num_streams"], ran["inference_num_threads"]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"devise": "CPU"}, "IB-323", "did you mean 'device'"),
        ({"device": "GPU.7"}, "IB-324", "GPU.7"),
        ({"device": "AUTO:GPU,CPU"}, "IB-324", "GPU"),
        ({"device": "HETERO:CPU"}, "IB-323", "HETERO"),
        ({"hint": "fast"}, "IB-323", "'fast'"),
        ({"num_streams": "many"}, "IB-323", "'many'"),
        ({"inference_num_threads": 0}, "IB-323", "0"),
        ({"config": {"ENABLE_CPU_PINING": 1}}, "IB-323", "did you mean 'ENABLE_CPU_PINNING'"),
        ({"config": {"CACHE_DIR": "x"}}, "IB-323", "CACHE_DIR"),
        ({"config": {"INFERENCE_PRECISION_HINT": "bf16"}}, "IB-341", "fp32"),
        ({"config": "x"}, "IB-323", "'x'"),
        ({"model_cache": "/dev/null/x"}, "IB-342", "/dev/null"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options, code, says):
    error = refusal(properties_of, options)
    assert error.code == code
    assert says in error.message
    assert error.hint


def properties_of(options):
    device = check_device(options.get("device", "CPU"), ["CPU"])
    return properties(options, "fp32", device, ["ENABLE_CPU_PINNING", "INFERENCE_PRECISION_HINT"])


def test_fp32_is_pinned_and_tf32_is_no_precision_of_it():
    assert properties_of({})["INFERENCE_PRECISION_HINT"] == "f32"
    assert properties_of({})["EXECUTION_MODE_HINT"] == "ACCURACY"
    assert refusal(properties, {}, "tf32", "CPU", []).code == "IB-341"
    assert check_device("GPU", ["CPU", "GPU.0", "GPU.1"]) == "GPU"


def test_auto_says_where_it_ran(written):
    backend = opened(written("(float[n] x) => (float[n] y) { y = Relu(x) }"), device="AUTO")
    assert backend.describe()["device"] in facts.load_openvino().Core().available_devices
    assert backend.infer({"x": np.full(2, -1, np.float32)})["y"].tolist() == [0, 0]


def test_another_device_than_the_asked_one_is_an_error():
    backend = OpenVino()
    backend._precision, backend._devices = "fp32", ["CPU"]
    error = refusal(backend._check_what_runs, "GPU.0", None)
    assert error.code == "IB-324"
    assert "CPU" in error.message


def test_a_missing_or_broken_file_is_an_error(tmp_path):
    assert refusal(opened, tmp_path / "none.onnx").code == "IB-326"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    error = refusal(opened, broken)
    assert error.code == "IB-326"
    assert "broken.onnx" in error.message


@pytest.mark.parametrize(
    ("primitive", "declared", "precision"),
    [
        ("brgconv_avx2_f32", "f16", "fp32"),
        ("jit_avx2_1x1_I8", "u8", "int8"),
        ("jit_avx2_f32", "i8", "fp32"),
        ("brgconv_avx512_amx_bf16", "bf16", "bf16"),
        ("", "f16", "fp16"),
        ("some_kernel", "f16", "fp16"),
        ("", "u4", "u4"),
    ],
)
def test_the_kernel_tells_what_a_layer_computes_in(primitive, declared, precision):
    assert facts.layer_precision(primitive, declared) == precision


@pytest.mark.parametrize(
    ("precision", "able", "hint", "layers", "says"),
    [
        ("fp32", ["FP32"], "f32", {"fp32": 1}, None),
        ("fp16", ["FP32", "FP16"], "f16", {"fp16": 9, "fp32": 1}, None),
        ("fp16", ["FP32", "FP16"], "f16", None, None),
        ("fp16", ["FP32"], "f32", {"fp32": 9}, "CPU has no fp16"),
        ("bf16", ["FP32", "BF16"], "bf16", {"fp32": 9}, "no layer ran in bf16"),
        ("bf16", ["FP32"], None, None, "CPU has no bf16"),
        ("int8", ["FP32", "INT8"], "f32", {"int8": 9}, None),
        ("int8", ["FP32", "INT8"], "f32", {"fp32": 9}, "no layer ran in int8"),
    ],
)
def test_emulation_is_told(precision, able, hint, layers, says):
    told = facts.emulation(precision, "CPU", able, hint, layers)
    assert told is None if says is None else told.startswith(says)


def test_the_second_time_it_comes_from_the_cache(tmp_path):
    image = {"images": np.random.default_rng(0).random((1, 3, 192, 192), np.float32)}
    cache = tmp_path / "cache"
    first = opened(model_path(), model_cache=str(cache))
    expected = first.infer(image)["output0"]
    assert first.describe()["model_cache"] == {
        "folder": str(cache),
        "loaded": False,
        "broken": [],
    }
    assert first.loaded_from_cache() is False
    second = opened(model_path(), model_cache=str(cache))
    assert second.describe()["model_cache"]["loaded"] is True
    assert second.loaded_from_cache() is True
    assert opened(model_path()).loaded_from_cache() is None
    assert second.device_timer() is None
    assert second.outputs == first.outputs
    np.testing.assert_array_equal(second.infer(image)["output0"], expected)


@pytest.mark.parametrize("damage", ["cut off", "empty", "flipped"])
def test_a_broken_blob_is_built_again(tmp_path, damage):
    image = {"images": np.random.default_rng(0).random((1, 3, 192, 192), np.float32)}
    expected = opened(model_path(), model_cache=str(tmp_path)).infer(image)["output0"]
    (blob,) = tmp_path.glob("*.blob")
    content = bytearray(blob.read_bytes())
    if damage == "flipped":  # OpenVINO itself would run it
        middle = len(content) // 2
        content[middle : middle + 4096] = bytes(4096)
    blob.write_bytes({"cut off": content[: len(content) // 2], "empty": b""}.get(damage, content))
    backend = opened(model_path(), model_cache=str(tmp_path))
    cached = backend.describe()["model_cache"]
    assert (cached["loaded"], cached["broken"]) == (False, [blob.name])
    np.testing.assert_array_equal(backend.infer(image)["output0"], expected)
    again = opened(model_path(), model_cache=str(tmp_path)).describe()["model_cache"]
    assert (again["loaded"], again["broken"]) == (True, [])


def test_blobs_without_a_seal_are_left_alone(tmp_path: Path):
    (tmp_path / "theirs.blob").write_bytes(b"x")
    assert drop_broken(tmp_path) == []
    seal_new(tmp_path)
    (tmp_path / "theirs.blob").write_bytes(b"y")
    assert drop_broken(tmp_path) == ["theirs.blob"]
    assert not list(tmp_path.iterdir())


def test_telemetry_is_not_even_imported():
    code = (
        "import sys; from pytest_inferbench.backends.openvino_facts import load_openvino;"
        "load_openvino(); import openvino.tools.ovc.telemetry_utils;"
        "print([m for m, v in sys.modules.items() if v and m.startswith('openvino_telemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_through_a_worker(written):
    with launch(modules=[ADAPTER]) as worker:
        artifact = written("(float[n] x) => (float[n] y) { y = Relu(x) }")
        fields = {"backend_module": ADAPTER, "artifact": artifact}
        opening = worker.call("open", fields).fields
        assert opening["ran"]["device"] == "CPU"
        assert "openvino" in opening["versions"]
        x = {"x": np.array([-1, 1], np.float32)}
        assert worker.call("infer", {}, x).arrays["y"].tolist() == [0, 1]
        reply = worker.call("sample", {"duration_s": 0.1, "warmup_floor_s": 0.02}, x)
        assert reply.arrays["ns"].min() > 0
        worker.call("close")


@pytest.mark.slow
def test_opening_and_closing_does_not_grow(written):
    from pytest_inferbench.measure.memory import rss_mib

    artifact = written("(float[n] x) => (float[n] y) { y = Relu(x) }")
    sizes = []
    for index in range(200):
        backend = opened(artifact)
        backend.infer({"x": np.ones(4, np.float32)})
        backend.close()
        if index >= 50:
            sizes.append(rss_mib())
    assert sizes[-1] - sizes[0] < 10
