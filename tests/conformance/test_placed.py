"""What is made of the facts that a runtime tells of itself, told or not, well-formed or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.placed import Placement
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import parse_budget, resolve
from pytest_inferbench.settings.metrics import METRICS


def placed(facts, precision="fp32", limits=None):
    """Return the placement of a cell whose runtime tells these facts."""
    cell = SimpleNamespace(model="m", backend="b", precision=precision, hardware="cpu-x")

    def budget(_model, metric, at, hardware):
        limit = (limits or {}).get(metric)
        if limit is not None:
            return parse_budget(METRICS[metric], limit, "settings")
        return resolve({}, metric, at, hardware)

    gate = SimpleNamespace(settings=SimpleNamespace(budget=budget))
    return Placement(SimpleNamespace(cell=cell, gate=gate, placement=lambda: facts))


def node(number):
    return {"node": f"n{number}", "op": "Conv", "provider": "cpu"}


def test_what_a_runtime_does_not_tell_is_not_asked():
    with pytest.raises(NotAsked, match="b does not tell where its nodes run"):
        placed({}).judgements()
    with pytest.raises(NotAsked, match="b does not tell what it computes in"):
        placed({"precisions": {}}).precision()
    assert placed({}).figures() == {}


@given(st.integers(0, 30))
def test_nodes_that_fell_back_are_counted_and_named(count):
    (judged,) = placed({"fallback": [node(i) for i in range(count)]}).judgements()
    assert judged.value == count
    assert judged.verdict is (Verdict.REGRESSED if count else Verdict.PASS)
    assert judged.detail.count("Conv n") == min(count, 8)
    assert (f"and {count - 8} more" in judged.detail) == (count > 8)


def test_copies_are_judged_where_fallback_is_not_told():
    (judged,) = placed({"memcpy_nodes": 3}, limits={"memcpy_nodes": 2}).judgements()
    assert (judged.metric, judged.verdict) == ("memcpy_nodes", Verdict.REGRESSED)


@pytest.mark.parametrize("asked", PRECISIONS)
def test_no_node_at_the_precision_that_was_asked_for_is_a_fault(asked):
    others = {kind: 2 for kind in PRECISIONS if kind != asked}
    (fault,) = placed({"precisions": {**others, asked: 0}}, asked).precision()
    assert fault.startswith(f"{asked} was asked for")
    assert "2 in " in fault


@pytest.mark.parametrize("asked", [each for each in PRECISIONS if each != "fp32"])
def test_what_has_no_kernels_may_run_in_more(asked):
    assert placed({"precisions": {asked: 1, "fp32": 50}}, asked).precision() == []


@pytest.mark.parametrize("less", ["tf32", "fp16", "bf16", "fp8"])
def test_fp32_means_fp32(less):
    assert placed({"precisions": {"fp32": 5, less: 0}}).precision() == []
    (fault,) = placed({"precisions": {"fp32": 5, less: 1}}).precision()
    assert f"5 in fp32, 1 in {less}" in fault


def test_emulation_is_not_asked_in_the_runtime_s_words():
    with pytest.raises(NotAsked, match="only stored"):
        placed({"emulated": "only stored", "precisions": {"fp32": 2}}, "bf16").precision()


@pytest.mark.parametrize(
    "facts",
    [
        {"fallback": "none"},
        {"fallback": [{"node": "n", "op": "Conv"}]},
        {"fallback": {"n": "Conv"}},
        {"precisions": {"fp32": "all"}},
        {"precisions": ["fp32"]},
        {"placement": {"cpu": -1}},
        {"placement": {"cpu": True}},
        {"memcpy_nodes": None},
        {"memcpy_nodes": 1.5},
        {"fused": {"Conv": ["/conv", "/relu"]}},
        {"fused": [{"layer": "Conv", "nodes": "/conv,/relu"}]},
        {"fused": [{"nodes": ["/conv", "/relu"]}]},
        {"fused": [{"layer": "Conv", "nodes": [1, 2]}]},
    ],
)
def test_a_fact_in_another_form_is_an_error_that_shows_it(facts):
    (name,) = facts
    with pytest.raises(InferbenchError, match=f"b tells {name} = ") as caught:
        placed(facts).judgements()
    assert caught.value.code == "IB-642"
