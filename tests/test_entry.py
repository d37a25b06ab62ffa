"""What brings a gate into a run: the options, among others."""

from __future__ import annotations

from pytest_inferbench.entry import _OPTIONS_IN_PLAY
from pytest_inferbench.plugin import OPTIONS


def test_whoever_asks_for_a_file_gets_a_gate_that_writes_it():
    asks = {name for name, how in OPTIONS.items() if how.get("metavar") in ("PATH", "DIR")}
    asks -= {"--inferbench-settings"}
    assert {name.lstrip("-").replace("-", "_") for name in asks} <= set(_OPTIONS_IN_PLAY)
