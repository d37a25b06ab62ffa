"""Many clients at once: nothing is said to be right of which too little was seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.conformance.contract import NotAsked, NotHere
from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.partners import NoPartnerError, NoSuchPartnerError
from pytest_inferbench.serving import parity
from pytest_inferbench.serving.parity import ANSWERS_EACH, CLIENTS, faults_of, seconds_for


def result(requests, failures=()):
    return LoadResult("grpc", CLIENTS, 1.0, requests, dict(failures))


@pytest.mark.parametrize("requests", [0, 1, ANSWERS_EACH * CLIENTS - 1])
def test_too_few_answers_are_no_pass(requests):
    (fault,) = faults_of(result(requests))
    assert fault.startswith(f"{requests} answers to 16 clients in 1.0 s, and 2 for each")


def test_enough_right_answers_are_and_wrong_ones_are_counted():
    assert faults_of(result(ANSWERS_EACH * CLIENTS)) == []
    (fault,) = faults_of(result(3, {"wrong answer": 1}))
    assert fault == "1 of 4 answers to 16 clients: wrong answer"


@given(st.floats(0, 60), st.integers(1, 64))
def test_a_stretch_is_long_enough_even_where_clients_wait_for_each_other(alone_s, clients):
    assert seconds_for(alone_s, clients) >= ANSWERS_EACH * clients * alone_s
    assert seconds_for(0.001, CLIENTS) == 1.0


@pytest.mark.parametrize(
    ("why", "said"), [(NoSuchPartnerError, NotAsked), (NoPartnerError, NotHere)]
)
def test_a_local_cell_that_cannot_run_here_is_not_one_that_does_not_exist(monkeypatch, why, said):
    def local_of(_):
        raise why("no runtime")

    monkeypatch.setattr(parity, "local_of", local_of)
    with pytest.raises(said, match="no runtime"):
        _ = parity.Parity(None).local_outputs
