"""The questions of resilience, asked of a real Triton: what it withstands, and what is known."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("tritonclient", reason="pip install 'pytest-inferbench[triton]'")

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.serving.chaos.attack import malformed_requests
from pytest_inferbench.serving.chaos.crowd import crowd
from pytest_inferbench.serving.chaos.giants import giants
from pytest_inferbench.serving.chaos.overflow import queue_overflow
from pytest_inferbench.serving.chaos.reload import reloaded
from pytest_inferbench.serving.chaos.restart import server_killed
from pytest_inferbench.serving.chaos.slow import slow_clients
from pytest_inferbench.serving.chaos.stage import Staging, staged
from pytest_inferbench.serving.chaos.stub import STAYS_READY, stub_killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the server is for Linux"),
]


@pytest.fixture(scope="module")
def staging(installation, net):
    """A small model, and what serves it; nothing of a server is left when the tests are over."""
    before = set(Path("/dev/shm").iterdir())
    rng = np.random.default_rng(0)
    inputs = [{"x": rng.standard_normal((1, 8)).astype(np.float32)} for _ in range(4)]
    yield Staging(inputs, 1e-4, installation, net)
    left = [each.name for each in Path("/dev/shm").iterdir() if each not in before]
    assert not [name for name in left if "inferbench" in name]


def test_a_killed_stub_is_noticed_and_mended(staging):
    seen = stub_killed(staging)
    assert seen.faults == ()
    assert STAYS_READY in seen.known
    assert seen.figures["failed"] > 0
    assert 0 < seen.figures["noticed_s"] < seen.figures["recovered_s"]
    assert seen.figures["mended_s"] < seen.figures["recovered_s"]


def test_a_killed_server_is_gone_and_another_takes_its_place(staging):
    seen = server_killed(staging)
    assert seen.faults == ()
    assert seen.figures["no_answer"] > 0
    assert seen.figures["gone_s"] + seen.figures["started_s"] <= seen.figures["recovered_s"] + 0.1


def test_a_model_is_loaded_again_without_a_failed_request(staging):
    seen = reloaded(staging)
    assert seen.faults == ()
    assert seen.figures["failed"] == 0


def test_five_hundred_malformed_requests_are_refused(staging):
    seen = malformed_requests(staging)
    assert seen.faults == ()
    assert seen.figures["malformed"] >= 500
    assert "status_200" not in seen.figures
    (blames_itself,) = seen.known
    assert "refused with 500" in blames_itself


def test_a_version_that_dies_of_giants_is_told(staging):
    seen = giants(staging)
    assert seen.faults == ()
    with staged(staging) as stage:
        old = stage.server.control.metadata()["version"] == "2.51.0"
    assert seen.known == ()
    assert len(seen.deaths) == (2 if old else 0)


def test_slow_clients_hold_nobody_up(staging):
    seen = slow_clients(staging)
    assert seen.faults == ()
    assert seen.figures["requests"] > 0


def test_a_thousand_connections_are_answered(staging):
    seen = crowd(staging)
    assert seen.faults == ()
    assert seen.figures["status_200"] == 1000


def test_a_full_queue_refuses_with_503_and_answers_the_rest_rightly(staging):
    seen = queue_overflow(staging)
    assert seen.faults == ()
    assert seen.figures["status_503"] == seen.figures["refused"] > 0
    assert seen.figures["status_200"] > 0


def test_what_cannot_be_batched_has_no_such_queue(staging, tmp_path):
    path = tmp_path / "fixed.onnx"
    model = onnx.load(staging.artifact)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    with pytest.raises(NotAsked, match="cannot be served"):
        queue_overflow(dataclasses.replace(staging, artifact=path))
