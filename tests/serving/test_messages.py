"""Messages of Triton's protocol, where its package is whole and where it is not."""

from __future__ import annotations

import sys

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.messages import message_module

pytest.importorskip("tritonclient.grpc")


def test_messages_are_read():
    assert message_module("service_pb2").ServerReadyRequest() is not None


def test_a_client_without_its_grpc_part_is_named(monkeypatch):
    for name in [each for each in sys.modules if each.startswith("tritonclient")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)  # as if it were not installed
    with pytest.raises(InferbenchError, match=r"IB-817(.|\n)*grpc(.|\n)*\[triton\]"):
        message_module("service_pb2")
