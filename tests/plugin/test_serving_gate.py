"""The suite of serving against a real Triton: right and recorded, made slower, made wrong.

One server's installation is shared by all tests and kept between runs, for it is downloaded once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import time
from pathlib import Path

import pytest

from pytest_inferbench.artifacts.cache import default_root
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.install import find_python

pytestmark = pytest.mark.slow

SHARED = Path("/dev/shm")
CACHE = default_root()  # here, for pytester moves the home folder
QUIET = """
lock = ".lock"

[matrix]
backends = ["ort-cpu"]
precisions = ["fp32"]

[latency]
# These tests run beside others and assert nothing that noise could change.
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0

[models.net]
path = "net.onnx"
task = "tensors"
samples = 32
backends = ["triton-served"]

[serving]
concurrency = [4]
seconds = "300 ms"
warmup = "100 ms"
runs = 3

[serving.objectives]
p50 = "15 ms"
failures = 0
"""
SERVED = "[serving.variants.served]\nbatching = true\n"
SCALED = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            scaled = pb_utils.Tensor("x", (x * 1.02).astype(x.dtype))
            answers.append(pb_utils.InferenceResponse([scaled]))
        return answers
"""


def left(before):
    """The shared memory that is new and that nobody has open: tests beside this one have theirs."""
    new = {path.name for path in SHARED.glob("inferbench-*")} - before
    held = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if new else ():
        with contextlib.suppress(OSError):
            text = maps.read_text()
            held |= {name for name in new if name in text}
    return new - held


def is_nothing_left(before, within_s=10.0):
    deadline = time.monotonic() + within_s
    while left(before) and time.monotonic() < deadline:  # one is made before it is opened
        time.sleep(0.2)
    return not left(before)


@pytest.fixture
def write(project):
    """Write the settings with one variant, given by what is added to it."""
    pytest.importorskip("tritonclient.grpc")
    if importlib.util.find_spec("locust") is None:  # importing it would patch this process
        pytest.skip("locust is not installed")
    try:
        find_python()
    except InferbenchError as error:
        pytest.skip(error.message)

    def write(more=""):
        text = f'cache = "{CACHE}"\n{QUIET}{SERVED}{more}'
        (project.path / "inferbench.toml").write_text(text)

    before = {path.name for path in SHARED.iterdir()}
    write()
    yield write
    assert is_nothing_left(before), "shared memory is left"


def results(project, name):
    return json.loads((project.path / name).read_text())


def test_it_is_right_recorded_and_shown_then_slower_then_wrong(project, write, gate, said):
    recorded = gate(
        "suites/serving", "--update-baselines", "--inferbench-json=first.json", timeout=300
    )
    text = said(recorded)
    assert recorded.ret == 0, text
    recorded.assert_outcomes(passed=7)  # five protocols, many clients at once, load
    recorded.stdout.fnmatch_lines(
        [
            "serving net at fp32, 4 clients:",
            "*variant * per s *mean ms*p50 ms*p90 ms*p95 ms*p99 ms*sd ms*gain*objectives",
            "*triton-served *met, the best",
            "*where the mean time went (n network, q queue, i input, # infer, o output, . other):",
            "recorded net on triton-served *load_p50@4 nothing -> * ms",
        ],
        consecutive=False,
    )
    (study,) = results(project, "first.json")["serving"]
    (variant,) = study["variants"]
    assert variant["failures"] == {}
    assert sum(variant["split_ms"].values()) == pytest.approx(
        variant["latency_ms"]["mean"], rel=0.5
    )
    assert variant["split_ms"]["infer"] > 0
    assert variant["queue_ms"]["p95"] != variant["queue_ms"]["mean"], "the server tells it"
    assert variant["server"]["batch_mean"] > 1, "batches were formed"

    write("queue_delay_us = 20000\npreferred_batch_sizes = [8]\n")
    slower = gate("suites/serving/test_load.py", "--inferbench-json=slower.json", timeout=300)
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        [
            "*load_p50@4 regressed",
            "*[[]IB-603[]] load_p50@4 regressed: *",
            "*of the mean: queue +* ms of +* ms",
            "*triton-served *p50 * ms, not 15 ms",
        ]
    )
    (study,) = results(project, "slower.json")["serving"]
    (variant,) = study["variants"]
    assert variant["split_ms"]["queue"] > 0.5 * variant["latency_ms"]["mean"]
    assert not variant["best"]

    (project.path / "scaled.py").write_text(SCALED)
    write(f'preprocess = "{project.path / "scaled.py"}"\n')
    parity = "suites/serving/test_parity.py"
    many = f"{parity}::test_many_clients_each_get_their_own_answer"
    wrong = gate(f"{parity}::test_over_http", many, timeout=300)
    wrong.assert_outcomes(failed=2)
    wrong.stdout.fnmatch_lines(["*[[]IB-855[]] parity_error regressed*"])
    wrong.stdout.fnmatch_lines(["*answers to 16 clients: wrong answer*"])


def test_without_a_server_in_the_matrix_nothing_of_it_is_asked(project, gate):
    collected = gate("--collect-only", "-q")
    assert collected.ret == 0
    text = collected.stdout.str()
    assert "test_latency" in text
    assert "test_parity" not in text
    assert "test_load" not in text
