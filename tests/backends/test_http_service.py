"""The `http` backend against the example service itself, on real models."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends.http_service import HttpService
from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.measure.memory import rss_mib
from pytest_inferbench.worker.client import launch

ADAPTER = "pytest_inferbench.backends.http_service:HttpService"
ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "fixtures/services/plain_http.py"
DETECTOR = ROOT / "fixtures/detector/detector.onnx"
ENCODINGS = ("json", "base64", "raw")


def save(path, nodes, inputs, outputs, constants=()):
    def infos(listed):
        return [helper.make_tensor_value_info(*each) for each in listed]

    graph = helper.make_graph(nodes, "tiny", infos(inputs), infos(outputs), list(constants))
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opset), path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of few nodes: several inputs and outputs, one in and one out, tokens to vectors."""
    folder = tmp_path_factory.mktemp("models")
    f, i = TensorProto.FLOAT, TensorProto.INT64
    table = np.random.default_rng(0).standard_normal((256, 8)).astype(np.float32)
    return {
        "pair": save(
            folder / "pair.onnx",
            [
                helper.make_node("Add", ["a", "b"], ["sum"]),
                helper.make_node("Shape", ["a"], ["size"]),
                helper.make_node("IsNaN", ["a"], ["nan"]),
            ],
            [("a", f, ["n", 3]), ("b", f, [])],
            [("sum", f, ["n", 3]), ("size", i, [2]), ("nan", TensorProto.BOOL, ["n", 3])],
        ),
        "twice": save(
            folder / "twice.onnx",
            [helper.make_node("Add", ["x", "x"], ["y"])],
            [("x", f, ["n", "m"])],
            [("y", f, ["n", "m"])],
        ),
        "tokens": save(
            folder / "tokens.onnx",
            [
                helper.make_node("Gather", ["table", "input"], ["rows"]),
                helper.make_node("ReduceMean", ["rows"], ["embedding"], axes=[1], keepdims=0),
            ],
            [("input", i, ["batch", "length"])],
            [("embedding", f, ["batch", 8])],
            [onnx.numpy_helper.from_array(table, "table")],
        ),
        "same": save(
            folder / "same.onnx",
            [helper.make_node("Identity", ["x"], ["y"])],
            [("x", TensorProto.STRING, ["n"])],
            [("y", TensorProto.STRING, ["n"])],
        ),
        "table": table,
        "detector": DETECTOR,
    }


@pytest.fixture(scope="module")
def serve(models):
    """Start the example service on a model, once each; every one is ended by its pid."""
    started: dict[str, tuple[subprocess.Popen[str], str]] = {}

    def start(name, *arguments):
        key = " ".join((name, *arguments))
        if key not in started:
            command = [sys.executable, SERVICE, models[name], "--port", "0", "--threads", "1"]
            process = subprocess.Popen(
                [*command, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
            started[key] = process, process.stdout.readline().strip()
        return started[key][1]

    yield start
    for process, _ in started.values():
        process.send_signal(signal.SIGTERM)
    codes = []
    for process, _ in started.values():
        try:
            codes.append(process.wait(10))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(process.wait())
        process.stdout.close()
    assert codes == [0] * len(codes), "SIGTERM ends the service in good order"


@pytest.fixture
def connect(serve):
    opened = []

    def connect(name, path="/infer", precision="fp32", **options):
        backend = HttpService()
        backend.open(serve(name) + path, options, precision)
        opened.append(backend)
        return backend

    yield connect
    for each in opened:
        each.close()


def pair(rows=2):
    a = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3) / 7
    return {"a": a, "b": np.array(0.1, np.float32)}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_several_inputs_and_outputs_come_back_exactly(connect, encoding, rows):
    backend = connect("pair", encoding=encoding)
    given = pair(rows)
    found = backend.infer(given)
    assert {name: each.dtype.name for name, each in found.items()} == {
        "sum": "float32",
        "size": "int64",
        "nan": "bool",
    }
    np.testing.assert_array_equal(found["sum"], given["a"] + given["b"])
    np.testing.assert_array_equal(found["size"], [rows, 3])
    assert found["nan"].shape == (rows, 3)
    found["sum"][:] = 0
    np.testing.assert_array_equal(backend.infer(given)["sum"], given["a"] + given["b"])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_not_finite_survives(connect, encoding):
    a = np.array([[np.nan, np.inf, -np.inf], [-0.0, 3e38, 1e-45]], np.float32)
    found = connect("pair", encoding=encoding).infer({"a": a, "b": np.array(-0.0, np.float32)})
    np.testing.assert_array_equal(found["sum"], a)
    np.testing.assert_array_equal(np.signbit(found["sum"][1]), np.signbit(a[1]))
    np.testing.assert_array_equal(found["nan"], np.isnan(a))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_detector_gives_what_it_gives_in_this_process(connect, encoding):
    x = np.random.default_rng(1).random((2, 3, 192, 192), np.float32)
    local = OnnxRuntime()
    local.open(str(DETECTOR), {"intra_op_num_threads": 1}, "fp32")
    backend = connect("detector", encoding=encoding)
    assert backend.inputs == local.inputs
    assert backend.outputs == local.outputs
    found = backend.infer({"images": x})["output0"]
    np.testing.assert_array_equal(found, local.infer({"images": x})["output0"])


def test_an_image_arrives_as_the_same_pixels(connect):
    pytest.importorskip("PIL")
    pixels = np.random.default_rng(2).integers(0, 256, (1, 3, 192, 192), np.uint8)
    x = pixels.astype(np.float32) / 255
    expected = connect("detector", encoding="raw").infer({"images": x})["output0"]
    options = {"encoding": "image", "image_scale": 255, "image_layout": "nchw"}
    for path in ("/infer", "/embed"):
        found = connect("detector", path, **options).infer({"images": x})["output0"]
        np.testing.assert_array_equal(found, expected)
    smooth = np.full_like(x, 128 / 255)
    jpeg = connect("detector", **options, image_format="jpeg").infer({"images": smooth})["output0"]
    same = connect("detector", encoding="raw").infer({"images": smooth})["output0"]
    np.testing.assert_array_equal(jpeg, same)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_embed_gives_one_vector_a_row(connect, encoding):
    backend = connect("twice", "/embed", encoding=encoding)
    x = np.array([[1.5, np.nan], [2, 3]], np.float32)
    np.testing.assert_array_equal(backend.infer({"x": x})["y"], 2 * x)
    assert backend.infer({"x": x[:0]})["y"].shape == (0, 2)
    with pytest.raises(InferbenchError, match="one input and one output") as caught:
        connect("pair", "/embed")
    assert caught.value.code == "IB-387"


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_openai_embeds_texts_and_tokens(connect, models, encoding_format):
    texts = ["a text", "größer"]
    tokens = np.zeros((2, 8), np.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text.encode())] = list(text.encode())
    expected = models["table"][tokens].mean(axis=1)
    signature = {
        "inputs": [{"name": "input", "dtype": "str", "shape": ["batch"]}],
        "outputs": [{"name": "embedding", "dtype": "float32", "shape": ["batch", 8]}],
    }
    options = {"model": "tiny", "encoding_format": encoding_format}
    path = "/v1/embeddings"
    for more in ({}, {"signature": signature}):
        backend = connect("tokens", path, **options, **more)
        for given in (np.array(texts), np.array(texts, object), np.char.encode(texts, "utf-8")):
            found = backend.infer({"input": given})["embedding"]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert found.dtype == np.float32
    signature["inputs"] = [{"name": "input", "dtype": "int64", "shape": ["batch", "length"]}]
    backend = connect("tokens", path, **options, signature=signature)
    np.testing.assert_allclose(backend.infer({"input": tokens})["embedding"], expected, rtol=1e-6)


def test_four_threads_get_their_own_answers(connect):
    backend = connect("twice", encoding="raw")
    barrier = threading.Barrier(4)

    def work(number):
        x = np.full((number + 1, 4), number, np.float32)
        barrier.wait()
        return all((backend.infer({"x": x})["y"] == 2 * x).all() for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert backend.describe()["total_ms"]["count"] == 200
    assert 1 <= len(backend._connections._idle) <= 4


def test_the_time_is_split_between_both_sides(connect):
    backend = connect("detector", encoding="raw")
    assert "total_ms" not in backend.describe()
    x = np.zeros((1, 3, 192, 192), np.float32)
    for _ in range(5):
        backend.infer({"images": x})
    facts = backend.describe()
    mean = {name: part["mean"] for name, part in facts.items() if name.endswith("_ms")}
    parts = ("serialize_ms", "network_ms", "server_overhead_ms", "server_ms", "deserialize_ms")
    assert sum(mean[part] for part in parts) == pytest.approx(mean["total_ms"])
    assert all(mean[part] > 0 for part in parts)
    assert mean["server_ms"] > mean["total_ms"] / 4, "running the model is what takes long"
    assert facts["request_bytes"]["min"] == facts["request_bytes"]["p99"] == x.nbytes
    assert facts["response_bytes"]["p50"] == 10 * 756 * 4
    assert facts["server_ms"]["count"] == 5
    assert {"device": "remote", "provider": "CPUExecutionProvider", "style": "infer"}.items() <= (
        facts.items()
    )


def test_prepared_makes_the_body_once(connect):
    x = {"x": np.ones((100, 100), np.float32)}
    for prepared in (False, True):
        backend = connect("twice", prepared=prepared)
        run = backend.prepare(x)
        for _ in range(3):
            np.testing.assert_array_equal(run()["y"], 2 * x["x"])
        assert backend.describe()["prepared"] is prepared
        assert (backend.describe()["serialize_ms"]["min"] == 0) is prepared


def test_a_precision_that_the_service_contradicts_is_refused(connect):
    with pytest.raises(InferbenchError, match="runs 'fp32', and int8 was asked for") as caught:
        connect("twice", precision="int8")
    assert caught.value.code == "IB-388"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "z"}, r"its inputs are \['x'\], not \['z'\]"),
        ({"dtype": "float64"}, "it has x: float32"),
        ({"shape": ["n"]}, "it has x: float32"),
    ],
)
def test_a_service_of_another_model_is_refused(connect, changes, says):
    given = {"name": "x", "dtype": "float32", "shape": ["n", 5]}
    outputs = [{"name": "y", "dtype": "float32", "shape": None}]
    connect("twice", signature={"inputs": [given], "outputs": outputs})
    with pytest.raises(InferbenchError, match=says) as caught:
        connect("twice", signature={"inputs": [{**given, **changes}], "outputs": outputs})
    assert caught.value.code == "IB-387"


def test_what_the_service_refuses_is_told_with_its_words(connect):
    backend = connect("twice")
    backend._options.headers["Content-Type"] = "text/plain"
    with pytest.raises(InferbenchError, match=r"answered 415.*text/plain") as caught:
        backend.infer({"x": np.ones((1, 1), np.float32)})
    assert caught.value.code == "IB-384"
    with pytest.raises(InferbenchError, match=r"GET http://127.*/nothing answered 404") as caught:
        connect("twice", health="/nothing")
    assert caught.value.code == "IB-383"
    with pytest.raises(InferbenchError, match=r"answered 404.*there is no /v2/infer") as caught:
        connect("twice", "/v2/infer").infer({"x": np.ones((1, 1), np.float32)})
    assert caught.value.code == "IB-384"


def test_a_service_that_restarted_is_found_again(models):
    """Its connections are gone with it, and the next call makes a new one."""
    command = [sys.executable, SERVICE, models["twice"], "--threads", "1", "--port"]
    backend, port = HttpService(), "0"
    x = np.ones((1, 1), np.float32)
    for _ in range(2):
        with subprocess.Popen([*command, port], stdout=subprocess.PIPE, text=True) as process:
            try:
                base = process.stdout.readline().strip()
                port = base.rpartition(":")[2]
                if not backend._is_open:
                    backend.open(f"{base}/infer", {}, "fp32")
                assert backend.infer({"x": x})["y"] == 2
            finally:
                process.terminate()
    with pytest.raises(InferbenchError, match="ConnectionRefusedError") as caught:
        backend.infer({"x": x})
    assert caught.value.code == "IB-381"


def test_opening_and_closing_200_times_keeps_nothing(serve):
    url = serve("twice") + "/infer"

    def once():
        backend = HttpService()
        backend.open(url, {"encoding": "raw"}, "fp32")
        backend.infer({"x": np.ones((1, 1), np.float32)})
        backend.close()

    for _ in range(20):
        once()
    descriptors, before_mib = len(list(Path("/proc/self/fd").iterdir())), rss_mib()
    for _ in range(200):
        once()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert rss_mib() - before_mib < 8


def test_through_a_worker_it_opens_infers_and_samples(serve):
    with launch(modules=[ADAPTER]) as worker:
        fields = {
            "backend_module": ADAPTER,
            "artifact": serve("twice") + "/infer",
            "options": {"encoding": "raw"},
        }
        opening = worker.call("open", fields).fields
        assert opening["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", "m"]}]
        assert opening["ran"]["device"] == "remote"
        x = {"x": np.ones((2, 3), np.float32)}
        np.testing.assert_array_equal(worker.call("infer", {}, x).arrays["y"], 2 * x["x"])
        assert worker.call("sample", {"duration_s": 0.2}, x).arrays["ns"].min() > 0
        worker.call("close")
        signature = {
            "inputs": [{"name": "input", "dtype": "str", "shape": ["batch"]}],
            "outputs": [{"name": "embedding", "dtype": "float32", "shape": ["batch", 8]}],
        }
        fields["artifact"] = serve("tokens") + "/v1/embeddings"
        fields["options"] = {"model": "m", "signature": signature}
        worker.call("open", fields)
        texts = {"input": np.array(["one", "two and more"])}
        assert worker.call("infer", {}, texts).arrays["embedding"].shape == (2, 8)


@pytest.mark.parametrize("texts", [["", "ä", "a longer text"], [""], []])
def test_text_goes_through_a_worker_and_comes_back(serve, texts):
    with launch(modules=[ADAPTER]) as worker:
        fields = {"backend_module": ADAPTER, "artifact": serve("same") + "/infer"}
        opening = worker.call("open", fields).fields
        assert [each["dtype"] for each in opening["inputs"]] == ["string"]
        given = np.array(texts, np.str_)
        found = worker.call("infer", {}, {"x": given}).arrays["y"]
        assert (found.dtype.kind, found.tolist()) == ("U", texts)
        encoded = {"x": np.array([text.encode() for text in texts], np.bytes_)}
        assert worker.call("infer", {}, encoded).arrays["y"].tolist() == texts
