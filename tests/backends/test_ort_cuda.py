"""ONNX Runtime on an NVIDIA GPU: binding, CUDA graphs, TF32, types, placement.

Skipped where the runtime has no CUDA provider or the machine no GPU.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.client import WorkerError, launch

ort = pytest.importorskip("onnxruntime")
ADAPTER = "pytest_inferbench.backends.ort:OnnxRuntime"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
if CUDA not in ort.get_available_providers():
    pytest.skip("this ONNX Runtime has no CUDA provider", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _gpu(tmp_path_factory):
    """Skip where there is no GPU; where there is one, CUDA must work."""
    path = save(tmp_path_factory.mktemp("probe") / "probe.onnx", [node("Relu", "x", "y")])
    try:
        opened(path).close()
    except InferbenchError as error:
        if error.code == "IB-324" and not Path("/dev/nvidiactl").exists():
            pytest.skip("this machine has no NVIDIA GPU")
        raise


def node(op, takes, gives, **attributes):
    return helper.make_node(op, takes.split(), gives.split(), name=f"{op}_{gives}", **attributes)


def save(path, nodes, dtype=TensorProto.FLOAT, shape=("n", "m"), constants=None, opset=17):
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, None)
    tensors = [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
    return str(path)


def opened(artifact, precision="fp32", **options):
    backend = OnnxRuntime()
    backend.open(artifact, {"provider": CUDA, **options}, precision)
    return backend


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def product(tmp_path):
    """A square MatMul, with its weights."""
    weights = normal(512, 512, seed=9)
    path = save(tmp_path / "product.onnx", [node("MatMul", "x w", "y")], constants={"w": weights})
    return path, weights


def relative_error(given, expected):
    return float(np.abs(given - expected).max() / np.abs(expected).max())


def exact(x, weights):
    return x.astype(np.float64) @ weights.astype(np.float64)


def test_fp32_means_fp32_and_tf32_is_another(product):
    artifact, weights = product
    x = normal(512, 512)
    errors = {}
    for precision in ("fp32", "tf32"):
        backend = opened(artifact, precision)
        assert backend.describe()["provider_options"]["use_tf32"] == str(int(precision == "tf32"))
        errors[precision] = relative_error(backend.infer({"x": x})["y"], exact(x, weights))
        assert backend.placement({"x": x})["precisions"] == {precision: 1}
    assert errors["fp32"] < 1e-5
    # Before Ampere there is no TF32, and both are the same.
    assert errors["tf32"] > 5 * errors["fp32"] or errors["tf32"] == errors["fp32"]


def test_what_is_timed_is_bound_and_done_when_it_returns(tmp_path):
    """Waiting for the device afterwards takes next to nothing."""
    weights = normal(4096, 4096)
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a w", "b"), node("MatMul", "b w", "y")]
    artifact = save(tmp_path / "heavy.onnx", nodes, constants={"w": weights})
    backend = opened(artifact)
    run = backend.prepare({"x": normal(4096, 4096)})
    probe = backend._session.io_binding()
    probe.bind_output("y", "cuda", 0)
    run_s, wait_s = [], []
    for _ in range(20):
        started = time.perf_counter()
        run()
        returned = time.perf_counter()
        probe.synchronize_outputs()
        run_s.append(returned - started)
        wait_s.append(time.perf_counter() - returned)
    assert statistics.median(wait_s) < statistics.median(run_s) / 4


def test_a_bound_call_is_faster_than_copying(tmp_path):
    artifact = save(tmp_path / "copy.onnx", [node("Relu", "x", "y")])
    backend = opened(artifact)
    x = normal(4096, 4096)  # 64 MiB each way

    def median_s(run):
        took = []
        for _ in range(15):
            started = time.perf_counter()
            run()
            took.append(time.perf_counter() - started)
        return statistics.median(took)

    assert median_s(backend.prepare({"x": x})) < median_s(lambda: backend.infer({"x": x})) / 3


@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}], ids=["plain", "graph"])
def test_answers_are_right_and_the_callers(product, options):
    artifact, weights = product
    backend = opened(artifact, **options)
    kept = []
    for seed, rows in ((1, 4), (2, 4), (3, 9), (4, 4), (5, 9)):  # shapes come and go
        x = normal(rows, 512, seed=seed)
        kept.append((x, backend.infer({"x": x})["y"]))
        backend.prepare({"x": normal(rows, 512, seed=99)})()
    for x, y in kept:
        assert relative_error(y, exact(x, weights)) < 1e-5


@pytest.mark.parametrize("options", [{}, {"cuda_graph": True}], ids=["plain", "graph"])
def test_four_threads_at_once_get_their_own_answers(product, options):
    artifact, weights = product
    backend = opened(artifact, **options)
    inputs = [normal(8, 512, seed=seed) for seed in range(4)]

    def repeat(which):
        for _ in range(50):
            given = backend.infer({"x": inputs[which]})["y"]
            assert relative_error(given, exact(inputs[which], weights)) < 1e-5

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(repeat, range(4)))


def test_a_captured_graph_replays_what_was_prepared(product):
    artifact, weights = product
    backend = opened(artifact, cuda_graph=True)
    inputs = [normal(4, 512, seed=seed) for seed in range(3)]
    runs = [backend.prepare({"x": x}) for x in inputs]
    assert backend.prepare({"x": inputs[0]}) is runs[0]  # captured once
    for run in runs * 3:
        run()
    for x, captured in zip(inputs, backend._graphs._captured.values(), strict=True):
        given = captured.outputs["y"].numpy()
        assert relative_error(given, exact(x, weights)) < 1e-5


def test_a_graph_of_many_small_nodes_is_faster_captured(tmp_path):
    nodes = [node("Sin", f"t{n}", f"t{n + 1}") for n in range(200)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    artifact = save(tmp_path / "small.onnx", nodes)
    x, took = normal(4, 4), {}
    for captured in (False, True):
        run = opened(artifact, cuda_graph=captured).prepare({"x": x})
        samples = []
        for _ in range(200):
            started = time.perf_counter()
            run()
            samples.append(time.perf_counter() - started)
        took[captured] = statistics.median(samples)
    assert took[True] < took[False]


def test_a_node_on_the_cpu_is_refused_for_a_graph(tmp_path):
    nodes = [node("Relu", "x", "a"), node("Det", "a", "y")]
    artifact = save(tmp_path / "det.onnx", nodes, shape=(1, 2, 2))
    with pytest.raises(InferbenchError) as caught:
        opened(artifact, cuda_graph=True).infer({"x": normal(1, 2, 2)})
    assert caught.value.code == "IB-331"
    assert "cuda_graph" in caught.value.hint


def test_a_shape_that_depends_on_data_is_refused_for_a_graph(tmp_path):
    """In a worker: a capture that failed may leave the process's device unusable."""
    nodes = [node("NonZero", "x", "i"), node("Cast", "i", "y", to=TensorProto.FLOAT)]
    artifact = save(tmp_path / "data.onnx", nodes)
    options = {"provider": CUDA, "cuda_graph": True}
    with launch(modules=[ADAPTER]) as worker:
        fields = {"backend_module": ADAPTER, "artifact": artifact, "options": options}
        worker.call("open", fields)
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, {"x": normal(2, 2)})
    assert caught.value.code == "IB-331"


def test_float16_comes_and_goes(tmp_path):
    half = np.float16
    nodes = [node("MatMul", "x w", "y")]
    weights = np.eye(8, dtype=half)
    artifact = save(tmp_path / "h.onnx", nodes, TensorProto.FLOAT16, constants={"w": weights})
    backend = opened(artifact, "fp16")
    x = normal(3, 8).astype(half)
    given = backend.infer({"x": x})["y"]
    assert given.dtype == half
    np.testing.assert_array_equal(given, x)
    backend.prepare({"x": x})()
    facts = backend.placement({"x": x})
    assert facts["precisions"] == {"fp16": 1}
    assert "emulated" not in facts


def test_bfloat16_comes_and_goes_as_its_bits(tmp_path):
    artifact = save(tmp_path / "b.onnx", [node("Identity", "x", "y")], TensorProto.BFLOAT16)
    backend = opened(artifact, "bf16")
    x = (normal(3, 8).view(np.uint32) >> 16).astype(np.uint16)
    given = backend.infer({"x": x})["y"]
    assert given.dtype == np.uint16
    np.testing.assert_array_equal(given, x)
    backend.prepare({"x": x})()
    with pytest.raises(InferbenchError, match="cannot be given") as caught:
        opened(artifact, "bf16", cuda_graph=True)
    assert caught.value.code == "IB-331"


@pytest.fixture
def quantized(tmp_path):
    """A Q/DQ convolution, as ONNX Runtime's own int8 recipe writes it."""
    scales = {name: np.array(0.05, np.float32) for name in ("sx", "sw", "sy")}
    zeros = {"zx": np.array(128, np.uint8), "zw": np.array(0, np.int8)}
    weights = np.clip(normal(8, 3, 3, 3) * 40, -127, 127).astype(np.int8)
    nodes = [
        node("QuantizeLinear", "x sx zx", "qx"),
        node("DequantizeLinear", "qx sx zx", "dx"),
        node("DequantizeLinear", "wq sw zw", "dw"),
        node("Conv", "dx dw", "c", pads=[1, 1, 1, 1]),
        node("QuantizeLinear", "c sy zx", "qc"),
        node("DequantizeLinear", "qc sy zx", "y"),
    ]
    constants = {**scales, **zeros, "wq": weights}
    return save(tmp_path / "q.onnx", nodes, shape=(1, 3, 16, 16), constants=constants)


def test_placement_of_an_int8_graph_counts_its_copies(quantized):
    backend = opened(quantized, "int8")
    x = normal(1, 3, 16, 16)
    facts = backend.placement({"x": x})
    assert sum(facts["placement"].values()) >= 1
    elsewhere = {each["provider"] for each in facts["fallback"]}
    assert elsewhere <= {CPU}
    if facts["memcpy_nodes"]:  # copies lead to nodes on the CPU, which are told too
        assert facts["fallback"]
    if "int8" not in facts["precisions"]:
        assert "no node computes in int8" in facts["emulated"]
    expected = OnnxRuntime()
    expected.open(quantized, {"provider": CPU}, "int8")
    given = backend.infer({"x": x})["y"], expected.infer({"x": x})["y"]
    assert np.abs(given[0] - given[1]).max() <= 0.05 * 1.01  # one step of the scale


def test_both_ways_of_telling_agree(product):
    backend = opened(product[0])
    if "placement" not in backend.describe():
        pytest.skip("this ONNX Runtime tells no assignment")
    facts = backend.placement({"x": normal(4, 512)})
    assert backend.describe()["placement"] == {CUDA: 1}
    assert backend.describe()["fallback"] == facts["fallback"] == []
    assert facts["memcpy_nodes"] == 0


def test_a_node_without_a_kernel_for_the_gpu_is_named(tmp_path):
    nodes = [node("Relu", "x", "a"), node("Det", "a", "b"), node("Relu", "b", "y")]
    artifact = save(tmp_path / "det.onnx", nodes, shape=(1, 2, 2))
    facts = opened(artifact).placement({"x": np.eye(2, dtype=np.float32)[None]})
    assert "Det" in {each["op"] for each in facts["fallback"]}
    assert facts["memcpy_nodes"] >= 1


def test_shape_arithmetic_on_the_cpu_is_no_fallback(tmp_path):
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "rows"),
        node("Concat", "rows minus", "target", axis=0),
        node("Reshape", "x target", "r"),
        node("Relu", "r", "y"),
    ]
    constants = {"zero": np.array([0], np.int64), "minus": np.array([-1], np.int64)}
    artifact = save(tmp_path / "shape.onnx", nodes, constants=constants)
    facts = opened(artifact).placement({"x": normal(2, 6)})
    assert facts["fallback"] == []


def test_tensorrt_that_is_missing_is_refused(product):
    """Older runtimes quietly hand back a session on CUDA."""
    tensorrt = "TensorrtExecutionProvider"
    if tensorrt not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no TensorRT provider")
    options = {"provider": tensorrt, "preload": "none"}
    if opens(product[0], **options):
        pytest.skip("TensorRT is there")
    with pytest.raises(InferbenchError, match=tensorrt) as caught:
        opened(product[0], **options)
    assert caught.value.code == "IB-324"


def opens(artifact, **options):
    try:
        opened(artifact, **options).close()
    except InferbenchError:
        return False
    return True
