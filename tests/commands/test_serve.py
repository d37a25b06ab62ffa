"""`inferbench serve`: it serves until it is interrupted, and says what it cannot serve."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("tritonclient.grpc")
pytest.importorskip("onnxruntime")


@pytest.fixture
def serve(tmp_path, mark, save_net):
    """Start the command in a project with the model `net`; it is ended at the end."""
    save_net(tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(
        '[models.net]\npath = "net.onnx"\ntask = "tensors"\n'
        '[backends.triton-batched]\nlike = "triton-http"\nbatching = true\n'
    )
    started = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest_inferbench.cli", "serve", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait(10)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["net", "net.onnx"])
def test_it_serves_until_it_is_interrupted(serve, model):
    process = serve(model, "--port", "0")
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    text = "".join(lines)
    assert "x: float32 1x64" in text
    (url,) = re.findall(r"^ +http +(\S+)", text, re.MULTILINE)
    body = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}
    request = urllib.request.Request(f"{url}/v2/models/net/infer", json.dumps(body).encode())

    def answer():
        with urllib.request.urlopen(request, timeout=20) as found:
            return json.loads(found.read())["outputs"][0]

    before = answer()
    assert before["shape"] == [1, 16]
    if model == "net":  # what runs the model dies, and is mended
        (pid,) = re.findall(r"pid (\d+)", text)
        (stub,) = subprocess.check_output(["pgrep", "-P", pid], text=True).split()
        os.kill(int(stub), signal.SIGKILL)
        said = [process.stderr.readline() for _ in range(2)]
        assert "1 of the 1 processes" in said[0]
        assert "loaded again" in said[1]
        assert answer() == before
    started = time.monotonic()
    process.send_signal(signal.SIGINT if model == "net" else signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - started < 15
    assert process.returncode == 0, said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "neither a model of the settings nor a file"),
        (["net", "--variant", "batch"], "did you mean 'batched'"),
        (["net", "--precision", "fp8"], "no fp8 for triton-http"),
    ],
)
def test_what_it_cannot_serve(serve, arguments, said):
    process = serve(*arguments)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "IB-816" in text
    assert said in text


@pytest.mark.slow
def test_a_model_that_cannot_be_batched(serve):
    process = serve("net", "--variant", "batched")
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "no dynamic first dimension" in text
