"""A server whose stub died is mended or said, and so is a port. What it is told is given here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving import server
from pytest_inferbench.serving.server import Server


def test_a_port_beyond_the_last_one_is_said():
    with pytest.raises(InferbenchError, match=r"port 65536 .*: ports end at 65535") as caught:
        server._free_ports([0, 65536])
    assert caught.value.code == "IB-801"


class Dying:
    """A process whose stub is another one after it has been looked at."""

    pid, prefix = 7, "inferbench-"

    def __init__(self):
        self.looked = 0

    def stubs(self):
        self.looked += 1
        return frozenset({self.looked})

    def check(self):
        pass

    def log_end(self):
        return " the log"


def control(is_ready):
    asked = []
    return SimpleNamespace(
        asked=asked,
        load=lambda name: asked.append(("load", name)),
        unload=lambda name: asked.append(("unload", name)),
        is_model_ready=lambda _: is_ready,
    )


def test_models_are_loaded_again_the_last_unloaded_first():
    asked = control(True)
    mending = Server(asked, process=Dying(), models=["net", "steps"])
    assert mending.mend()
    assert asked.asked == [
        ("unload", "steps"),
        ("unload", "net"),
        ("load", "net"),
        ("load", "steps"),
    ]


def test_a_model_that_does_not_get_ready_again_is_not_mended(monkeypatch):
    monkeypatch.setattr(server, "READY_S", 0.05)
    with pytest.raises(InferbenchError, match="'net' ready again within") as caught:
        Server(control(False), process=Dying(), models=["net"]).mend()
    assert caught.value.code == "IB-802"
    assert caught.value.hint.endswith("the log")
