"""What does the server withstand? Asked only by `-m chaos`, or by this file's path."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.chaos


def test_a_killed_stub_is_noticed_and_mended(resilience, withstood):
    withstood(resilience.stub_killed)


def test_a_killed_server_leaves_nothing_and_another_takes_its_place(resilience, withstood):
    withstood(resilience.server_killed)


def test_a_model_is_loaded_again_under_load(resilience, withstood):
    withstood(resilience.reloaded)


def test_malformed_requests_are_refused(resilience, withstood):
    pytest.importorskip("hypothesis", reason="pip install 'pytest-inferbench[conformance]'")
    withstood(resilience.malformed)


def test_giants_are_refused(resilience, withstood):
    withstood(resilience.giants)


def test_slow_clients_hold_nobody_up(resilience, withstood):
    withstood(resilience.slow_clients)


def test_a_thousand_connections_are_answered(resilience, withstood):
    withstood(resilience.crowd)


def test_a_full_queue_refuses_properly(resilience, withstood):
    withstood(resilience.overflow)
