"""How quiet a machine is, in words."""

from __future__ import annotations

import json
import math

from pytest_inferbench.judge.hearing import Audible, Speeds
from pytest_inferbench.matrix import Cell
from pytest_inferbench.noise import Noise, Stranger
from pytest_inferbench.report.noise import lines, plain
from pytest_inferbench.settings.schema import LatencySettings

LATENCY = LatencySettings()
QUIET = Speeds(0.5, 0.51, 0.5, 9, 0.02, 20.0)
TORN = Speeds(0.5, 0.7, 0.4, 9, 0.5, 20.0)


def noise(speeds=QUIET, *, audible=True, **fields):
    heard = Audible("p5", "+10%", 0.012, 0.132, 0.111, 0.32, None)
    told = {
        "steal": 0.001,
        "other": 0.01,
        "strangers": (Stranger("yes", 7, 0.3),),
        "rounds": 8,
        "set_aside": (),
        "seconds": 20.0,
    }
    return Noise(
        cell=Cell("detector", "ort-cpu", "fp32", "cpu-test-2c"),
        speeds=speeds,
        audible=(heard,) if audible else (),
        **{**told, **fields},
    )


def said(*arguments, **fields):
    return "\n".join(lines(noise(*arguments, **fields), LATENCY))


def test_a_quiet_machine_is_told_what_it_can_hear():
    text = said()
    assert "keeps one speed (probe 0.50 ms" in text
    assert "p5 differs by 1.2% from one fresh launch to the next" in text
    rows = {" ".join(line.split()) for line in text.splitlines()}
    assert "side by side, 20 s from +13.2%" in rows
    assert "side by side, 60 s from +11.1%" in rows
    assert "against 1 recorded session from +32.0%" in rows
    assert "against 5 like these cannot tell" in rows
    assert "yes (pid 7)" not in text  # one per cent is nobody
    assert "record five sessions" in text


def test_a_machine_that_changes_its_speed_is_told_so_and_what_to_do():
    text = said(TORN)
    assert "two speeds (probe 0.50 and 0.70 ms, +40.0%)" in text
    assert "changes between them within seconds (9 changes in 20 s)" in text
    assert "IB-614" in text
    assert "record five sessions" not in text


def test_who_takes_the_machine_is_named():
    text = said(steal=0.2, other=0.4, set_aside=("the hypervisor took 20% of the CPU",), rounds=1)
    assert "yes (pid 7) 30%" in text
    assert "1 round of two workers in turn; 1 set aside: the hypervisor took 20%" in text
    assert "most_steal" in text
    assert "most_other" in text
    assert "nothing can be said: too few rounds count" in said(audible=False, rounds=1)


def test_as_plain_types_it_is_json_without_nan():
    heard = Audible("p5", "+10%", math.nan, None, math.inf, 0.32, None)
    told = noise(audible=False)
    fields = plain(Noise(**{**vars(told), "audible": (heard,)}))
    text = json.dumps(fields, allow_nan=False)
    assert json.loads(text)["audible"][0]["launches"] is None
    assert json.loads(text)["audible"][0]["beside_for"] is None
    assert json.loads(text)["strangers"] == [{"name": "yes", "pid": 7, "share": 0.3}]
