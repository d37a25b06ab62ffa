"""The Triton backends against a real server: each protocol, joined requests, what goes wrong."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")
pytest.importorskip("onnxruntime")

from pytest_inferbench.backends.triton import Triton
from pytest_inferbench.backends.triton_options import read_options
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.server import Order, start
from pytest_inferbench.serving.variant import PROTOCOLS, Variant

RUN_HERE = [name for name in PROTOCOLS if name != "cuda-shm"]


@pytest.fixture(scope="module")
def installation():
    """Where a server is; made on first use, which downloads it."""
    from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
    from pytest_inferbench.serving.install import installation_for
    from pytest_inferbench.worker.facts import installed

    try:
        return installation_for(
            Variant(), ArtifactCache(default_root()), lambda _: None, installed(["onnxruntime"])
        )
    except InferbenchError as error:
        if error.code == "IB-805":
            pytest.skip(error.message)
        raise


@pytest.fixture(autouse=True)
def nothing_left():
    """No test leaves shared memory or folders behind."""

    def found():
        folders = (Path("/dev/shm"), Path(tempfile.gettempdir()))
        return {path for each in folders for path in each.glob(f"inferbench-{os.getpid()}-*")}

    before = found()
    yield
    assert found() <= before


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Models: `rows` of 8 numbers, `kinds` with every type, `edges` of one number a row."""
    folder = tmp_path_factory.mktemp("nets")
    return {
        "rows": _rows(folder / "rows.onnx"),
        "kinds": _kinds(folder / "kinds.onnx"),
        "edges": _edges(folder / "edges.onnx"),
    }


def _save(path, nodes, inputs, outputs, weights=()):
    import onnx
    from onnx import helper

    graph = helper.make_graph(nodes, "net", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def _rows(path):
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(0).normal(0, 1, (8, 4)).astype(np.float32)
    return _save(
        path,
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_tensor_value_info("x", 1, ["batch", 8])],
        [helper.make_tensor_value_info("y", 1, ["batch", 4])],
        [numpy_helper.from_array(weight, "w")],
    )


KINDS = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float64", "str")


def _kinds(path):
    from onnx import helper

    numbers = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in KINDS[:-1]] + [8]
    return _save(
        path,
        [helper.make_node("Identity", [f"in_{kind}"], [f"out_{kind}"]) for kind in KINDS],
        [
            helper.make_tensor_value_info(f"in_{k}", n, ["n", 2])
            for k, n in zip(KINDS, numbers, strict=True)
        ],
        [
            helper.make_tensor_value_info(f"out_{k}", n, ["n", 2])
            for k, n in zip(KINDS, numbers, strict=True)
        ],
    )


def _edges(path):
    """A number a row, given back with its sign turned."""
    from onnx import helper

    infos = [("a", ["batch"])]
    return _save(
        path,
        [helper.make_node("Neg", [name], [f"minus_{name}"]) for name, _ in infos],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in infos],
        [helper.make_tensor_value_info(f"minus_{name}", 1, shape) for name, shape in infos],
    )


@pytest.fixture
def opened(installation):
    """Return what opens a backend; all are closed at the end."""
    made = []

    def open_(path, **options):
        backend = Triton()
        made.append(backend)
        backend.open(str(path), {"installation": installation.as_fields(), **options}, "fp32")
        return backend

    yield open_
    for each in made:
        each.close()


def expected(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (count, 8)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", RUN_HERE)
def test_each_protocol_gives_what_the_runtime_gives(opened, nets, protocol):
    backend = opened(nets["rows"], protocol=protocol, model="net")
    assert str(backend.inputs[0]) == "x: float32 batchx8"
    for seed, count in enumerate((1, 3, 1, 5, 200)):
        x = rows(count, seed)
        np.testing.assert_array_equal(
            backend.infer({"x": x})["y"], expected(nets["rows"], {"x": x})["y"]
        )
    x = rows(2)
    x[0, 3], x[1, 0] = np.nan, np.inf
    np.testing.assert_array_equal(
        backend.infer({"x": x})["y"], expected(nets["rows"], {"x": x})["y"]
    )
    told = backend.describe()
    assert told["protocol"] == protocol
    assert told["version"]
    assert set(told["addresses"]) == {"http", "grpc", "metrics"}
    assert told["server_times"]["failures"] == 0
    assert told["server_times"]["requests"] >= 5, "the last may not be counted yet"
    assert told["server_times"]["compute_infer_ms"] > 0
    assert told["wire_ms"]["count"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_type_comes_back_as_it_went(opened, nets, protocol):
    backend = opened(nets["kinds"], protocol=protocol)
    values = [[0, 1], [1, 0], [1, 1]]
    inputs = {f"in_{kind}": np.array(values).astype(kind) for kind in KINDS[:-1]}
    inputs["in_int64"][0, 0], inputs["in_uint64"][0, 0] = -(2**62), 2**63
    inputs["in_str"] = np.array([["", "ä"], ["longer text", "x"], ["1", "2"]])
    outputs = backend.infer(inputs)
    for kind in KINDS:
        np.testing.assert_array_equal(outputs[f"out_{kind}"], inputs[f"in_{kind}"])
        assert outputs[f"out_{kind}"].dtype.kind == inputs[f"in_{kind}"].dtype.kind


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http-json", "grpc", "http-shm"])
def test_what_has_no_dimension_but_the_batch(opened, nets, protocol):
    backend = opened(nets["edges"], protocol=protocol, max_batch_size=8)
    outputs = backend.infer({"a": np.array([1, -2, 3], np.float32)})
    np.testing.assert_array_equal(outputs["minus_a"], [-1, 2, -3])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc-shm"])
def test_joined_requests_get_each_its_own_answer(opened, nets, protocol):
    backend = opened(
        nets["rows"], protocol=protocol, batching=True, max_batch_size=64, queue_delay_us=3000
    )
    faults = []

    def client(number):
        for turn in range(12):
            x = rows(1 + (number + turn) % 3, seed=100 * number + turn)
            found = backend.infer({"x": x})["y"]
            want = expected_rows[number, turn]
            if found.shape != want.shape or not np.allclose(found, want, rtol=1e-4, atol=1e-5):
                faults.append((number, turn, found.shape))

    expected_rows = {
        (number, turn): expected(
            nets["rows"], {"x": rows(1 + (number + turn) % 3, seed=100 * number + turn)}
        )["y"]
        for number in range(16)
        for turn in range(12)
    }
    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert not faults
    times = backend.describe()["server_times"]
    assert times["executions"] < times["requests"], "requests were joined"


@pytest.mark.slow
def test_a_server_of_somebody_else(installation, nets, opened, tmp_path):
    from pytest_inferbench.serving.repository import write_repository

    write_repository(tmp_path, "net", nets["rows"], Variant())
    x = rows(3)
    with start(installation, Order(tmp_path, ["net"])) as server:
        addresses = {"http": server.http_url, "grpc": f"grpc://{server.grpc_url}"}
        for protocol, url in addresses.items():
            backend = Triton()
            backend.open(
                str(nets["rows"]), {"url": url, "model": "net", "protocol": protocol}, "fp32"
            )
            np.testing.assert_array_equal(
                backend.infer({"x": x})["y"], expected(nets["rows"], {"x": x})["y"]
            )
            assert backend.describe()["device"] == "remote"
            with pytest.raises(InferbenchError, match=r"'x' has shape \(3, 2, 4\)"):
                backend.infer({"x": x.reshape(3, 2, 4)})
            backend.close()
        with pytest.raises(InferbenchError, match=r"is not kinds\.onnx") as caught:
            Triton().open(str(nets["kinds"]), {"url": addresses["http"], "model": "net"}, "fp32")
        assert caught.value.code == "IB-387"
        with pytest.raises(InferbenchError, match="unknown model") as caught:
            Triton().open(str(nets["rows"]), {"url": addresses["http"], "model": "none"}, "fp32")
        assert caught.value.code == "IB-384"
        server.check()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_stub_that_dies_is_said_and_mended(opened, nets, protocol):
    backend = opened(nets["rows"], protocol=protocol)
    x = rows(1)
    before = backend.infer({"x": x})["y"]
    (stub,) = backend._server.process.stubs()
    os.kill(stub, signal.SIGKILL)
    with pytest.raises(InferbenchError) as caught:
        backend.infer({"x": x})
    assert caught.value.code == "IB-804"
    np.testing.assert_array_equal(backend.infer({"x": x})["y"], before)


@pytest.mark.slow
def test_more_rows_than_the_server_takes_are_refused(opened, nets):
    backend = opened(nets["rows"], max_batch_size=4)
    backend.infer({"x": rows(4)})
    with pytest.raises(InferbenchError, match="batch-size must be <= 4") as caught:
        backend.infer({"x": rows(5)})
    assert caught.value.code == "IB-384"
    backend.infer({"x": rows(4)})


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_answer_that_takes_too_long(opened, nets, protocol):
    backend = opened(
        nets["rows"], protocol=protocol, timeout_s=0.3, batching=True, queue_delay_us=3_000_000
    )
    with pytest.raises(InferbenchError) as caught:
        backend.infer({"x": rows(1)})
    assert caught.value.code == "IB-382"


@pytest.mark.slow
def test_a_model_in_python_that_comes_before(opened, nets, tmp_path):
    before = tmp_path / "double.py"
    before.write_text(
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        return [\n"
        "            pb_utils.InferenceResponse(\n"
        "                [pb_utils.Tensor(t.name(), 2 * t.as_numpy()) for t in r.inputs()]\n"
        "            )\n"
        "            for r in requests\n"
        "        ]\n"
    )
    backend = opened(nets["rows"], preprocess=str(before), batching=True)
    x = rows(2)
    np.testing.assert_allclose(
        backend.infer({"x": x})["y"], expected(nets["rows"], {"x": 2 * x})["y"], rtol=1e-5
    )


@pytest.mark.slow
def test_the_cache_answers_again(opened, nets):
    backend = opened(nets["rows"], response_cache=True, prepared=True)
    call = backend.prepare({"x": rows(2)})
    first = call()
    np.testing.assert_array_equal(call()["y"], first["y"])
    deadline = time.monotonic() + 5
    while (times := backend.describe()["server_times"])["requests"] < 2:
        assert time.monotonic() < deadline, "a server counts a moment after it has answered"
        time.sleep(0.02)
    assert times["executions"] == 1


@pytest.mark.slow
def test_shared_memory_has_no_name_while_it_is_used(opened, nets):
    backend = opened(nets["rows"], protocol="http-shm")
    backend.infer({"x": rows(3)})
    assert not list(Path("/dev/shm").glob(f"{backend._server.process.prefix}-client*"))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({}, "IB-813", "no Triton server can be started"),
        ({"url": "grpc://h:8001"}, "IB-807", "needs a http address"),
        ({"url": "http://h:8000", "protocol": "grpc"}, "IB-807", "needs a grpc address"),
        ({"url": "http://h:8000", "batchng": True}, "IB-323", "did you mean 'batching'"),
        ({"url": "http://h:8000", "timeout_s": 0}, "IB-323", "more than 0"),
        ({"url": "http://h:8000", "timeout_s": "5"}, "IB-323", "It takes int or float"),
        ({"url": "http://h:8000", "batching": 1}, "IB-800", "true or false"),
    ],
)
def test_options_that_are_refused(options, code, said):
    with pytest.raises(InferbenchError) as caught:
        read_options(options)
    assert caught.value.code == code
    assert said in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "said"), [("http-json", "in_float16"), ("http-shm", "in_str")]
)
def test_what_a_protocol_does_not_carry(opened, nets, protocol, said):
    with pytest.raises(InferbenchError, match=f"{protocol} does not carry {said}") as caught:
        opened(nets["kinds"], protocol=protocol)
    assert caught.value.code == "IB-815"
