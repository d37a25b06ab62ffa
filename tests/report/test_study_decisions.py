"""The table of a study says what the settings' ladder decides of each variant."""

from __future__ import annotations

import json

import pytest

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.study import lines, plain, studies
from pytest_inferbench.serving.decision import DEFAULT, ladder_of
from pytest_inferbench.serving.split import PARTS
from pytest_inferbench.settings.objectives import parse_objectives

CELLS = [Cell("net", f"triton-{name}", "fp32", "cpu-a-2c") for name in ("plain", "slow")]


def told(p95_by_run):
    return {
        "clients": 8,
        "runs": len(p95_by_run),
        "requests": 100,
        "failures": {},
        "per_s": 10.0,
        "latency_ms": dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "sd"), 5.0),
        "queue_ms": {},
        "split_ms": dict.fromkeys(PARTS, 1.0),
        "by_run": {"p95": p95_by_run},
    }


@pytest.fixture
def ledger():
    ledger = Ledger()
    for cell, runs in zip(CELLS, ([20, 20.1, 19.9], [45, 60, 30]), strict=True):
        payload = {"cell": cell.id, "kind": "load", "load": [told(runs)]}
        ledger.note(f"test_load[{cell.id}]", outcome="passed", payload=payload)
    return ledger


def default_ladder():
    rungs = {word: parse_objectives(dict(each), pytest.fail) for word, each in DEFAULT.items()}
    return ladder_of(rungs, "do not ship")


def test_each_variant_has_its_word(ledger):
    (study,) = studies(CELLS, ledger, {}, default_ladder())
    assert [row.decision for row in study.rows] == [
        "ship",
        "do not ship (or ship or acceptable: too few runs to tell)",
    ]
    text = "\n".join(lines(study))
    assert "decision" in text
    assert "too few runs" in text
    written = json.loads(json.dumps(plain(study)))
    assert written["variants"][0]["decision"] == "ship"


def test_without_a_ladder_nothing_is_decided(ledger):
    (study,) = studies(CELLS, ledger, {})
    assert not any(row.decision for row in study.rows)
    assert "decision" not in "\n".join(lines(study))
