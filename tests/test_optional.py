"""Which runs sweep batch sizes: those that set them, budget them, or name them."""

from __future__ import annotations

import pytest

from pytest_inferbench.optional import wants_chaos, wants_throughput
from pytest_inferbench.settings.budgets import parse_budgets
from pytest_inferbench.settings.schema import LatencySettings, ModelSettings, Settings


def settings(tmp_path, batches=(), budgets=None):
    model = ModelSettings(
        path=tmp_path / "net.onnx", task="tensors", budgets=parse_budgets(budgets or {}, print)
    )
    return Settings(models={"net": model}, latency=LatencySettings(batches=batches))


def test_a_plain_run_does_not(tmp_path):
    assert not wants_throughput(settings(tmp_path), ["", ""])


@pytest.mark.parametrize("selection", ["throughput", "ort and throughput", "test_throughput or x"])
def test_an_expression_that_names_it_does(tmp_path, selection):
    assert wants_throughput(settings(tmp_path), [selection, ""])
    assert wants_throughput(settings(tmp_path), ["", selection])


def test_batch_sizes_and_budgets_do(tmp_path):
    assert wants_throughput(settings(tmp_path, batches=(1,)), [])
    assert wants_throughput(settings(tmp_path, budgets={"throughput": "-5%"}), [])


@pytest.mark.parametrize(
    "selection", ["chaos", "triton and chaos", "chaos or serving", "test_chaos"]
)
def test_servers_are_broken_where_an_expression_names_it(selection):
    assert wants_chaos([selection, ""])
    assert wants_chaos(["", selection])


@pytest.mark.parametrize(
    "selection", ["", "serving", "not chaos", "triton and not (chaos)", "chaotic"]
)
def test_and_nowhere_else(selection):
    assert not wants_chaos([selection, ""])
