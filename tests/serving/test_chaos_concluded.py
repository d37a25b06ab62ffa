"""How a question of resilience ends: withstood, failed, known to fail, and what is left of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_inferbench.conclusion import conclude_item, conclude_question, conclude_resilience
from pytest_inferbench.conformance.contract import NotAsked, NotHere
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


@pytest.mark.parametrize(
    ("reason", "code", "is_silence"), [(NotAsked, "IB-640", False), (NotHere, "IB-643", True)]
)
def test_what_cannot_be_asked_here_is_silence_and_what_does_not_apply_is_none(
    item, reason, code, is_silence
):
    def question():
        raise reason("too few files")

    handle = SimpleNamespace(kind="parity", judgements=question)
    for conclude in (
        lambda: conclude_question(item, CELL, question),
        lambda: conclude_resilience(item, CELL, question),
        lambda: conclude_item(item, CELL, handle),
    ):
        item.stash[PAYLOAD] = {}
        with pytest.raises(pytest.skip.Exception, match=rf"{code}.*: too few files"):
            conclude()
        assert ("not_asked" not in item.stash[PAYLOAD]) is is_silence
