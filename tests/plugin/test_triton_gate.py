"""Cells behind a real Triton server: what the suites ask of every backend, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("tritonclient.grpc")
pytest.importorskip("onnxruntime")

from pytest_inferbench.artifacts.cache import default_root
from pytest_inferbench.locate import packaged_folder

pytestmark = pytest.mark.slow

SUITES = packaged_folder("suites")
TOKEN = "INFERBENCH_WORKER"
CACHE = default_root()  # a home of its own, as tests of plugins have, would install it again


@pytest.fixture(autouse=True)
def behind_a_server(project, monkeypatch):
    """The project's cells run behind a server, which comes from the user's own cache."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(CACHE))
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('cache = ".cache"\n', "")
    file.write_text(text.replace('["ort-cpu"]', '["triton-http", "triton-grpc"]'))


def test_the_contract_holds(project, gate, said):
    contract = SUITES / "conformance" / "test_contract.py"
    result = gate(str(contract), "--durations=12", timeout=200)
    text = said(result)
    outcomes = result.parseoutcomes()
    assert not outcomes.get("failed"), text
    assert not outcomes.get("errors"), text
    assert outcomes["passed"] >= 2 * 9, text


def test_every_precision_is_right(project, gate, said):
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('["fp32"]', '["fp32", "fp16", "int8"]')
    # The weights are random, and outputs of different inputs nearly alike: no cosine tells.
    budgets = "[models.net.budgets]\ncosine = false\ncentred_cosine = false\nsnr_db = 30\n"
    file.write_text(text.replace('"triton-http", ', "") + budgets)
    result = gate("-m", "accuracy", "--inferbench-require", "triton", timeout=200)
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") == 4, said(result)
    assert not outcomes.keys() & {"failed", "skipped", "errors"}, said(result)


def test_a_server_of_somebody_else(project, gate, said, tmp_path):
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.serving.install import installation_for
    from pytest_inferbench.serving.repository import write_repository
    from pytest_inferbench.serving.server import Order, start
    from pytest_inferbench.serving.variant import Variant
    from pytest_inferbench.worker.facts import installed

    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('"triton-http", ', ""))
    write_repository(tmp_path / "models", "net", project.path / "net.onnx", Variant())
    where = installation_for(
        Variant(), ArtifactCache(CACHE), lambda _line: None, installed(["onnxruntime"])
    )
    server = start(where, Order(tmp_path / "models", ["net"]))
    try:
        url = f"grpc://{server.grpc_url}"
        result = gate("-m", "accuracy", "-v", "--inferbench-triton-url", url)
        assert result.parseoutcomes()["passed"] == 1, said(result)
        assert "net-triton-grpc-fp32-remote" in said(result)
        server.check()
    finally:
        server.stop(gently=False)


def test_no_server_there_is_one_named_failure(project, gate, said):
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('"triton-http", ', ""))
    result = gate("-m", "accuracy", "--inferbench-triton-url", "grpc://127.0.0.1:9")
    assert result.ret == 1
    assert "no Triton server is ready at grpc://127.0.0.1:9" in said(result)


def test_a_variant_that_is_none_is_a_settings_error(project, gate, said):
    with (project.path / "inferbench.toml").open("a") as file:
        file.write("\n[backends.triton-http]\nbatching = true\nmax_batch_size = 0\n")
    result = gate("-m", "accuracy")
    assert result.ret == 4
    assert "IB-800" in said(result)


OWN = """
import os, time
from pathlib import Path

import pytest


@pytest.mark.inferbench(models=["net"])
def test_own(cell, backend_worker):
    assert len(backend_worker.outputs) == 8
    Path("running").write_text("yes")
    while not Path("seen").exists():
        time.sleep(0.02)
    {}
"""


def family(mark_variable, mark):
    """Return the processes that carry a mark, and the tokens of their workers."""
    found, tokens = [], set()
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get(mark_variable) == mark and process.pid != os.getpid():
            found.append(process.name())
            tokens.add(environment.get(TOKEN, ""))
    return found, tokens - {""}


def left_behind(tokens):
    folders = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [
        path
        for token in tokens
        for folder in folders
        for path in folder.glob(f"inferbench-{token}*")
    ]


@pytest.mark.parametrize(
    ("deed", "sent"),
    [
        ("pass", None),
        ("assert 0", None),
        ("time.sleep(60)", signal.SIGINT),
        ("time.sleep(60)", signal.SIGTERM),
        ("time.sleep(60)", signal.SIGKILL),
    ],
    ids=["success", "failure", "SIGINT", "SIGTERM", "SIGKILL"],
)
def test_nothing_is_left(project, mark, mark_variable, left_of, deed, sent):
    project.makepyfile(test_own=OWN.format(deed))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "test_own.py", "-k", "triton-grpc"],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (project.path / "running").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        names, tokens = family(mark_variable, mark)
        assert "tritonserver" in names
        assert any(name.startswith("triton_python") for name in names)
        assert left_behind(tokens), "there is something that could be left"
        (project.path / "seen").write_text("yes")
        if sent is not None:
            process.send_signal(sent)
        said, _ = process.communicate(timeout=30)
        assert sent or ("1 passed" if deed == "pass" else "1 failed") in said
    finally:
        process.kill()
        process.wait(10)
    assert not left_of(mark, within_s=10.0)
    deadline = time.monotonic() + 5
    while left_behind(tokens) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left_behind(tokens)
