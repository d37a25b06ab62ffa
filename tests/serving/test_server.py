"""A real server: it starts or says why not, dies with its owner, and its stubs are watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.server import Order, connect, start
from pytest_inferbench.worker.supervisor import descendants

pytestmark = pytest.mark.slow

ROW = {"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [1.0] * 8}


def ask(server, rows=1, timeout_s=20):
    """Return what `net` answers to ones."""
    body = {"inputs": [{**ROW, "shape": [rows, 8], "data": [1.0] * 8 * rows}]}
    url = f"{server.http_url}/v2/models/net/infer"
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.loads(answer.read())["outputs"][0]


@contextlib.contextmanager
def running(installation, order):
    """Give a server that is ended at once, where its gentle end is not what is tested."""
    server = start(installation, order)
    try:
        yield server
    finally:
        server.stop(gently=False)


def segments(server):
    return list(Path("/dev/shm").glob(f"{server.process.prefix}*"))


def remove(log):
    """Remove the log that a failure has kept, and the folder that it is alone in."""
    log.unlink()
    log.parent.rmdir()


def wait_until(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except OSError:
        return False


def test_it_serves_and_leaves_nothing(installation, repository):
    with start(installation, Order(repository, ["net"])) as server:
        family = [server.pid, *descendants(server.pid)]
        assert ask(server, rows=3)["shape"] == [3, 4]
        assert server.control.metadata()["name"] == server.process.id
        assert segments(server), "the stub's memory has the prefix by which it is removed"
        log = server.process.log
        server.check()
        assert not server.mend()
    assert not any(map(is_alive, family))
    assert not segments(server)
    assert not log.exists()


def test_it_can_be_ended_at_once(installation, repository):
    server = start(installation, Order(repository, ["net"]))
    family = [server.pid, *descendants(server.pid)]
    before = time.monotonic()
    server.stop(gently=False)
    assert time.monotonic() - before < 2.0, "gently takes three seconds"
    assert not any(map(is_alive, family))
    assert not segments(server)
    server.stop()  # a second time does nothing


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_it_dies_with_its_owner(installation, repository, name):
    code = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from pytest_inferbench.serving.server import Installation, Order, start\n"
        f"where = Installation.from_fields(json.loads({json.dumps(installation.as_fields())!r}))\n"
        f"server = start(where, Order(Path({str(repository)!r}), ['net']))\n"
        "print(json.dumps([server.pid, server.process.prefix]), flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pid, prefix = json.loads(owner.stdout.readline())
    family = [pid, *descendants(pid)]
    assert len(family) > 1
    owner.send_signal(getattr(signal, name))
    owner.communicate(timeout=10)
    assert wait_until(lambda: not any(map(is_alive, family)))
    assert wait_until(lambda: not list(Path("/dev/shm").glob(f"{prefix}*")))
    assert wait_until(lambda: not list(Path(tempfile.gettempdir()).glob(f"{prefix}*")))


def test_a_stub_that_dies_is_noticed_and_mended(installation, repository):
    with running(installation, Order(repository, ["net"])) as server:
        before = ask(server)["data"]
        (stub,) = server.process.stubs()
        os.kill(stub, signal.SIGKILL)
        assert wait_until(lambda: server.dead_stubs() == 1)
        assert server.control.is_ready(), "the server itself does not notice"
        with pytest.raises(InferbenchError, match="1 of the 1 processes") as caught:
            server.check()
        assert caught.value.code == "IB-804"
        assert server.mend()
        server.check()
        assert ask(server)["data"] == before


def test_a_server_that_was_killed_is_said(installation, repository):
    server = start(installation, Order(repository, ["net"]))
    log = server.process.log
    try:
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(server.process.has_ended)
        with pytest.raises(InferbenchError) as caught:
            server.check()
    finally:
        server.stop(keep_log=True)
    assert caught.value.code == "IB-803"
    assert "signal 9" in caught.value.message
    assert "Started HTTPService" in caught.value.hint
    remove(log)


def test_what_goes_wrong_keeps_the_log(installation, repository):
    logs = []

    def fail():
        with start(installation, Order(repository)) as server:
            logs.append(server.process.log)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    remove(*logs)


def test_a_model_that_does_not_load_is_said(installation, repository, tmp_path):
    (repository / "net" / "1" / "model.onnx").unlink()
    (repository / "net" / "1" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InferbenchError) as caught:
        start(installation, Order(repository, ["net"]))
    assert caught.value.code == "IB-801"
    assert "model.onnx" in caught.value.hint
    remove(*(Path(word.rstrip(";")) for word in caught.value.hint.split() if "triton.log" in word))


def test_a_port_that_is_taken_is_said(installation, repository):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InferbenchError) as caught:
            start(installation, Order(repository, ["net"], ports=(port, 0, 0)))
    assert caught.value.code == "IB-801"
    assert f"port {port}" in caught.value.message
    assert "in use" in caught.value.message


def test_one_that_is_not_ready_in_time_is_ended(installation, repository):
    with pytest.raises(InferbenchError) as caught:
        start(installation, replace(Order(repository, ["net"]), ready_s=0.0))
    assert caught.value.code == "IB-802"
    remove(*(Path(word.rstrip(";")) for word in caught.value.hint.split() if "triton.log" in word))


def test_models_are_loaded_later_and_refused(installation, repository):
    with running(installation, Order(repository)) as server:
        assert not server.control.is_model_ready("net")
        server.control.load("net")
        assert ask(server)["shape"] == [1, 4]
        with pytest.raises(InferbenchError, match="does not load the model 'nothing'") as caught:
            server.control.load("nothing")
        assert caught.value.code == "IB-808"
        server.control.unload("net")
        assert wait_until(lambda: not server.control.is_model_ready("net"))


def test_both_interfaces_tell_the_same(installation, repository):
    with running(installation, Order(repository, ["net"])) as server:
        ask(server)
        over_http = connect(server.http_url)
        over_grpc = connect(f"grpc://{server.grpc_url}")
        try:
            assert not over_grpc.is_owned
            assert over_grpc.pid is None
            assert not over_grpc.mend()
            for question in ("model_metadata", "statistics"):
                told = getattr(over_http.control, question)("net")
                also = getattr(over_grpc.control, question)("net")
                assert told["name"] == also["name"] == "net"
            assert told["inference_stats"]["success"] == also["inference_stats"]["success"]
            config = over_http.control.model_config("net")
            assert config["input"] == over_grpc.control.model_config("net")["input"]
            assert over_grpc.control.is_model_ready("net")
            with pytest.raises(InferbenchError) as caught:
                over_grpc.control.load("nothing")
            assert caught.value.code == "IB-808"
            assert "nv_inference_count" in server.control.metrics(server.metrics_url)
        finally:
            over_http.stop()
            over_grpc.stop()
        server.check()  # whoever only connected ends nothing


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "grpc://127.0.0.1:9"])
def test_nobody_there(url):
    pytest.importorskip("tritonclient.grpc")
    with pytest.raises(InferbenchError, match="no Triton server is ready") as caught:
        connect(url, timeout_s=2)
    assert caught.value.code == "IB-381"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", ""])
def test_what_is_no_address(url):
    with pytest.raises(InferbenchError) as caught:
        connect(url)
    assert caught.value.code == "IB-807"
