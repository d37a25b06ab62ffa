"""How a question of resilience ends: withstood, failed, known to fail, and what is left of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_inferbench.conclusion import conclude_resilience
from pytest_inferbench.items import PAYLOAD
from pytest_inferbench.matrix import Cell
from pytest_inferbench.serving.chaos.seen import Seen

CELL = Cell("net", "triton-http", "fp32", "cpu-a-2c")


@pytest.fixture
def item():
    return SimpleNamespace(name="test_giants[cell]", stash=pytest.Stash(), user_properties=[])


def test_what_a_server_withstood_passes(item):
    conclude_resilience(item, CELL, lambda: Seen(known=("it blames itself",)))
    assert item.stash[PAYLOAD]["resilience"]["known"] == ["it blames itself"]


def test_a_death_that_is_known_is_no_pass_and_no_fault(item):
    with pytest.raises(pytest.skip.Exception, match=r"IB-883.*known to fail: it dies of JSON"):
        conclude_resilience(item, CELL, lambda: Seen(deaths=("it dies of JSON",)))
    assert item.stash[PAYLOAD]["resilience"]["deaths"] == ["it dies of JSON"]
    assert "not_asked" not in item.stash[PAYLOAD], "under --inferbench-require it is silence"


def test_another_fault_beside_it_fails(item):
    with pytest.raises(pytest.fail.Exception, match="IB-881"):
        conclude_resilience(item, CELL, lambda: Seen(faults=("500",), deaths=("of JSON",)))
