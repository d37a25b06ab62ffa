"""The locust files by hand, on a plain HTTP service: shapes, two workers, verdicts."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_inferbench.load.result import from_text
from pytest_inferbench.locate import packaged_folder

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
FILES = packaged_folder("locustfiles")
DETECTOR = ROOT / "fixtures/detector/detector.onnx"

# Locust itself must not be imported here: it would replace pytest's sockets and threads.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("locust") is None, reason="load is made with Locust"),
]


@pytest.fixture(scope="module")
def service():
    """Return the address of a service that runs the built-in detector."""
    program = [sys.executable, str(ROOT / "fixtures/services/plain_http.py"), str(DETECTOR)]
    with subprocess.Popen(
        [*program, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            (address,) = re.findall(r"http://[\w.]+:\d+", process.stdout.readline())
            yield address
        finally:
            process.terminate()


def command(*arguments, files=("http_service.py",)):
    paths = ",".join(str(FILES / each) for each in files)
    start = [sys.executable, "-m", "locust", "-f", paths, "--headless", "--only-summary"]
    return [*start, *map(str, arguments)]


def locust(folder, *arguments, files=("http_service.py",)):
    written = folder / "results.json"
    done = subprocess.run(
        command("--load-json", written, *arguments, files=files),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    said = done.stdout + done.stderr
    results = from_text(written.read_text(), "results")[0] if written.exists() else []
    return done.returncode, results, said


@pytest.mark.parametrize("encoding", ["raw", "image"])
def test_a_service_is_put_under_load_and_its_answers_checked(service, tmp_path, encoding):
    if encoding == "image":
        pytest.importorskip("PIL")
    status, (result,), said = locust(
        tmp_path,
        *("--host", f"{service}/infer", "--encoding", encoding, "--input-shape"),
        *("images=1,3,192,192", "-u", 4, "-r", 4, "--measure", "1s", "--verify", "--samples", 4),
    )
    assert status == 0, said
    assert result.failures == {}
    assert result.requests > 4
    assert result.protocol == f"service-{encoding}"


def test_a_wrong_path_fails_with_what_the_service_says(service, tmp_path):
    status, results, said = locust(
        tmp_path,
        *("--host", f"{service}/nowhere", "--encoding", "raw", "-t", "3s"),
        *("--input-shape", "images=1,3,192,192"),
    )
    assert status == 1
    assert results == []
    assert "IB-834" in said
    assert "404" in said


def test_a_sweep_has_a_line_a_step(service, tmp_path):
    status, results, said = locust(
        tmp_path,
        *("--host", f"{service}/infer", "--encoding", "raw", "--warmup", "200ms"),
        *("--input-shape", "images=1,3,192,192", "--load-shape", "sweep"),
        *("--levels", "1,3", "--step", "1s"),
        files=("http_service.py", "shapes.py"),
    )
    assert status == 0, said
    assert [each.clients for each in results] == [1, 3]
    assert all(each.requests and not each.failures for each in results)


def test_the_rate_of_an_open_loop_follows_a_shape(service, tmp_path):
    status, results, said = locust(
        tmp_path,
        *("--host", f"{service}/infer", "--encoding", "raw", "--warmup", "200ms"),
        *("--input-shape", "images=1,3,192,192", "--load-shape", "sweep", "-u", 8),
        *("--levels", "1,2", "--step", "1s", "--rate", 20, "--arrivals", "constant"),
        files=("http_service.py", "shapes.py"),
    )
    assert status == 0, said
    assert [each.rate_per_s for each in results] == [10, 20]
    assert results[1].per_s == pytest.approx(20, rel=0.25)


def test_two_workers_make_one_result(service, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = command("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    worker, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            )
            for _ in range(2)
        ]
        stack.callback(lambda: [each.kill() for each in workers])
        status, (result,), said = locust(
            tmp_path,
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port),
            *("--expect-workers", 2, "--host", f"{service}/infer", "--encoding", "raw"),
            *("--input-shape", "images=1,3,192,192", "-u", 5, "-r", 5, "--measure", "1s"),
        )
        ended = [each.wait(20) for each in workers]
    assert status == 0, said
    assert ended == [0, 0]
    assert (result.processes, result.clients) == (2, 5)
    assert result.failures == {}
    assert result.histogram.count == result.requests > 5


def test_a_run_that_ends_before_it_counts_is_no_pass(service, tmp_path):
    status, results, said = locust(
        tmp_path,
        *("--host", f"{service}/infer", "--encoding", "raw", "--warmup", "60s"),
        *("--input-shape", "images=1,3,192,192", "-t", "2s"),
    )
    assert (status, results) == (1, [])
    assert "IB-837" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(("--runs", 9, "--measure", "1s", "-t", "4s"), "ended"), (("--measure", "9s"), "of 9 s")],
    ids=["runs", "measure"],
)
def test_less_than_was_asked_for_is_no_pass(service, tmp_path, arguments, why):
    status, results, said = locust(
        tmp_path,
        *("--host", f"{service}/infer", "--encoding", "raw", "--warmup", "200ms"),
        *("--input-shape", "images=1,3,192,192", "-t", "3s", *arguments),
    )
    assert status == 1, said
    assert results
    assert why in said
    assert "PASSED" not in said


def test_nor_is_a_sweep_that_was_interrupted(service, tmp_path):
    start = command(
        *("--host", f"{service}/infer", "--encoding", "raw", "--warmup", "200ms"),
        *("--input-shape", "images=1,3,192,192", "--load-shape", "sweep"),
        *("--levels", "1,2,3", "--step", "4s"),
        files=("http_service.py", "shapes.py"),
    )
    with subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 1, said
    assert "FAILED" in said
    assert "PASSED" not in said
