"""Are the answers through the server those that the model gives without one?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.serving


def test_over_http(parity, conclude):
    conclude(parity.over("http"))


def test_over_http_json(parity, conclude):
    conclude(parity.over("http-json"))


def test_over_grpc(parity, conclude):
    conclude(parity.over("grpc"))


def test_over_http_shared_memory(parity, conclude):
    conclude(parity.over("http-shm"))


def test_over_grpc_shared_memory(parity, conclude):
    conclude(parity.over("grpc-shm"))


def test_many_clients_each_get_their_own_answer(parity, kept):
    kept(parity.together)
