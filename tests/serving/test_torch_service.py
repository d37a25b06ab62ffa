"""The service of FastAPI and torch, asked by the `http` backend: right answers, right refusals."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pytest_inferbench.backends.http_service import HttpService
from pytest_inferbench.backends.torch_native import Torch

pytest.importorskip("fastapi", reason="pip install 'pytest-inferbench[service]'")
pytest.importorskip("uvicorn", reason="pip install 'pytest-inferbench[service]'")
torch = pytest.importorskip("torch", reason="pip install 'pytest-inferbench[service]'")
pytest.importorskip("PIL", reason="pip install 'pytest-inferbench[service]'")

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "fixtures/services/torch_service.py"
DETECTOR = ROOT / "fixtures/detector/detector.pt2"

pytestmark = pytest.mark.slow


def start(model, *arguments):
    command = [sys.executable, str(SERVICE), str(model), "--port", "0", "--threads", "1"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), address
    return process, address


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    process.stdout.close()
    return code


@pytest.fixture(scope="module")
def address():
    process, address = start(DETECTOR)
    yield address
    assert end(process) == 0, "SIGTERM ends the service in good order"


@pytest.fixture(scope="module")
def local():
    backend = Torch()
    backend.open(str(DETECTOR), {"device": "cpu", "threads": 1}, "fp32")
    yield backend
    backend.close()


@pytest.fixture
def connect(address):
    opened = []

    def connect(path="/infer", **options):
        backend = HttpService()
        backend.open(address + path, options, "fp32")
        opened.append(backend)
        return backend

    yield connect
    for each in opened:
        each.close()


def images(rows=2):
    return np.random.default_rng(1).random((rows, 3, 192, 192), np.float32)


@pytest.mark.parametrize("encoding", ["json", "base64", "raw"])
@pytest.mark.parametrize("path", ["/infer", "/embed"])
def test_every_encoding_gives_what_torch_gives_here(connect, local, encoding, path):
    backend = connect(path, encoding=encoding)
    assert [each.name for each in backend.inputs] == ["images"]
    found = backend.infer({"images": images()})["output0"]
    np.testing.assert_allclose(found, local.infer({"images": images()})["output0"], atol=1e-4)


def test_an_image_arrives_as_its_pixels(connect, local):
    pixels = np.random.default_rng(2).integers(0, 256, (1, 3, 192, 192), np.uint8)
    options = {"encoding": "image", "image_scale": 255, "image_layout": "nchw"}
    for given, form in ((pixels, "png"), (np.full_like(pixels, 128), "jpeg")):
        x = given.astype(np.float32) / 255
        found = connect(**options, image_format=form).infer({"images": x})["output0"]
        np.testing.assert_allclose(found, local.infer({"images": x})["output0"], atol=1e-4)


def test_it_tells_where_its_time_went(connect):
    backend = connect(encoding="image", image_scale=255, image_layout="nchw", image_format="jpeg")
    x = np.zeros((1, 3, 192, 192), np.float32)
    for _ in range(5):
        backend.infer({"images": x})
    facts = backend.describe()
    assert facts["provider"] == f"torch {torch.__version__}"
    assert facts["server_ms"]["count"] == 5
    assert facts["server_overhead_ms"]["p50"] > 0, "decoding and encoding take time"
    assert "implausible_server_times" not in facts
    assert 0 < facts["request_bytes"]["p99"] < x.nbytes / 10, "a JPEG is small"


def test_threads_get_their_own_answers(connect, local):
    backend = connect(encoding="raw")
    given = [np.full((1, 3, 192, 192), shade, np.float32) for shade in (0, 0.3, 0.6, 0.9)]
    expected = [local.infer({"images": each})["output0"] for each in given]
    assert not np.allclose(expected[0], expected[1], atol=1e-2)

    def work(number):
        for _ in range(4):
            found = backend.infer({"images": given[number]})["output0"]
            np.testing.assert_allclose(found, expected[number], atol=1e-4)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def ask(address, body, kind="application/json", path="/infer", headers=None):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", path, body, {"Content-Type": kind, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def tensor(**changes):
    whole = {"dtype": "float32", "shape": [1, 3, 192, 192], "base64": ""}
    return json.dumps({"inputs": {"images": {**whole, **changes}}})


RAW = "application/octet-stream"
HUGE = '[{"name": "images", "dtype": "float32", "shape": [9, 9999999999]}]'
PIXEL = base64.b64encode(b"no image").decode()


@pytest.mark.parametrize(
    ("status", "body", "more"),
    [
        (422, "{", {}),
        (422, "[]", {}),
        (422, tensor(shape=[-1, 3]), {}),
        (422, tensor(shape="wide"), {}),
        (400, "{}", {}),
        (400, tensor(dtype="float16"), {}),
        (400, tensor(base64="!"), {}),
        (400, tensor(shape=[10**30] * 4), {}),
        (400, tensor(shape=[0, 3, 192]), {}),
        (400, tensor(base64=None, data=["x"], shape=[1]), {}),
        (400, tensor(base64=None, data=[[1.0]], shape=[1]), {}),
        (
            400,
            json.dumps({"inputs": {"other": {"dtype": "float32", "shape": [0], "data": []}}}),
            {},
        ),
        (400, json.dumps({"image": PIXEL}), {}),
        (400, json.dumps({"images": []}), {}),
        (415, "x", {"kind": "text/plain"}),
        (400, b"\0" * 8, {"kind": RAW}),
        (400, b"", {"kind": RAW, "headers": {"X-Tensors": "{"}}),
        (400, b"", {"kind": RAW, "headers": {"X-Tensors": HUGE}}),
        (404, "{}", {"path": "/nowhere"}),
        (413, "", {"headers": {"Content-Length": str(10**12)}}),
    ],
)
def test_what_is_wrong_is_refused_with_its_status(address, connect, local, status, body, more):
    told, content = ask(address, body, **more)
    assert told == status, content
    assert json.loads(content)
    found = connect(encoding="raw").infer({"images": images(1)})["output0"]
    np.testing.assert_allclose(found, local.infer({"images": images(1)})["output0"], atol=1e-4)


def test_torchscript_is_served_under_its_names(tmp_path):
    class Sum(torch.nn.Module):
        def forward(self, a, b):
            return a + b, a - b

    path = tmp_path / "sum.pt"
    spec = {"dtype": "float32", "shape": ["n", 3]}
    names = {
        "inputs": [{"name": "a", **spec}, {"name": "b", **spec}],
        "outputs": [{"name": "sum", **spec}, {"name": "difference", **spec}],
    }
    torch.jit.save(
        torch.jit.script(Sum()), str(path), _extra_files={"inferbench.json": json.dumps(names)}
    )
    process, address = start(path, "--precision", "fp32")
    backend = HttpService()
    try:
        backend.open(address + "/infer", {"encoding": "json"}, "fp32")
        a = np.array([[1.5, np.nan, np.inf]], np.float32)
        found = backend.infer({"a": a, "b": np.ones((1, 3), np.float32)})
        np.testing.assert_array_equal(found["sum"], a + 1)
        np.testing.assert_array_equal(found["difference"], a - 1)
        uneven = tensor()
        assert ask(address, uneven)[0] == 400
    finally:
        backend.close()
        assert end(process) == 0


def test_it_ends_with_the_process_that_started_it():
    command = [sys.executable, str(SERVICE), str(DETECTOR), "--port", "0"]
    program = (
        "import subprocess, time\n"
        f"p = subprocess.Popen({command!r}, stdout=subprocess.PIPE, text=True)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    service = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 15
    while is_alive(service) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(service)


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
