"""The study's table: a row a variant, gains beside the first, objectives, the best, the picture."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell
from pytest_inferbench.report.study import bar, lines, missed, plain, studies
from pytest_inferbench.serving.split import PARTS
from pytest_inferbench.settings.objectives import parse_objectives

CELLS = [Cell("net", f"triton-{name}", "fp32", "cpu-a-2c") for name in ("plain", "fast", "slow")]


def objectives(**written):
    return parse_objectives(written, lambda key, text: pytest.fail(f"{key}: {text}"))


def told(per_s, p95_ms, clients=8, failures=(), queue_ms=0.5):
    split = {**dict.fromkeys(PARTS, 0.25), "queue": queue_ms}
    latency = {"mean": sum(split.values()), "sd": 0.1, "p50": 1, "p90": 2, "p95": p95_ms, "p99": 9}
    return {
        "clients": clients,
        "requests": 1000,
        "failures": dict(failures),
        "per_s": per_s,
        "latency_ms": latency,
        "queue_ms": {"mean": queue_ms, "p95": 2 * queue_ms},
        "split_ms": split,
    }


@pytest.fixture
def ledger():
    ledger = Ledger()
    for cell, *loads in (
        (CELLS[0], told(100, 5), told(60, 3, clients=1)),
        (CELLS[1], told(150, 20)),
        (CELLS[2], told(90, 8, queue_ms=20.25)),
    ):
        payload = {"cell": cell.id, "kind": "load", "load": loads}
        ledger.note(f"test_load[{cell.id}]", outcome="passed", payload=payload)
    return ledger


def test_variants_of_one_number_of_clients_stand_together(ledger):
    one, eight = studies(CELLS, ledger, {})
    assert [(each.clients, len(each.rows)) for each in (one, eight)] == [(1, 3), (8, 3)]
    assert [row.gain for row in eight.rows] == [None, pytest.approx(0.5), pytest.approx(-0.1)]
    assert not any(row.is_best for row in eight.rows), "without objectives nothing is the best"


def test_who_was_not_measured_has_a_row_and_no_other_takes_its_place_as_the_first(ledger):
    absent = Ledger()
    for entry in ledger:
        payload = entry.payload
        if payload["cell"] == CELLS[0].id:
            payload = {"cell": CELLS[0].id, "kind": "load"}
        absent.note(entry.nodeid, outcome=entry.outcome, payload=payload)
    (eight,) = studies(CELLS, absent, objectives(p95="10 ms"))
    plain_one, fast, slow = eight.rows
    assert (plain_one.is_measured, plain_one.is_best) == (False, False)
    assert (fast.gain, slow.gain) == (None, None)
    assert slow.is_best
    text = "\n".join(lines(eight))
    assert "  triton-plain  not measured\n" in text
    assert text.count("triton-plain") == 1, "nothing is drawn of it"
    written = json.loads(json.dumps(plain(eight)))
    assert [each["measured"] for each in written["variants"]] == [False, True, True]
    (one, _) = studies(CELLS, ledger, {})
    assert [row.is_measured for row in one.rows] == [True, False, False]


def test_the_best_is_the_fastest_of_those_that_will_do(ledger):
    _, eight = studies(CELLS, ledger, objectives(p95="10 ms", queue_p95="5 ms"))
    plain_one, fast, slow = eight.rows
    assert plain_one.is_best
    assert fast.missed == ("p95 20 ms, not 10 ms",)
    assert slow.missed == ("queue_p95 40.5 ms, not 5 ms",)
    text = "\n".join(lines(eight))
    assert "serving net at fp32, 8 clients:" in text
    assert "triton-plain" in text
    assert "met, the best" in text
    assert "+50.0%" in text
    assert "queue 20.250" in text
    eight.rows[2].told["strangers"] = "others ask this server too"
    assert list(lines(eight))[-1] == "  triton-slow: others ask this server too"


def test_failed_requests_and_unknown_figures_speak_against_a_variant():
    figures = {"per_s": 5.0, "failures": 0.25}
    assert missed(figures, {}) == ("25.00% of requests failed",)
    assert missed(figures, objectives(failures=0.5)) == ()
    assert missed({"per_s": 5.0}, objectives(per_s="6 /s")) == ("per_s 5 /s, not 6 /s",)
    assert missed({}, objectives(p99="6 ms")) == ("p99 no figure, not 6 ms",)
    assert missed({"p99": math.nan}, objectives(p99="6 ms")) != ()


def test_as_plain_types_it_survives_json(ledger):
    _, eight = studies(CELLS, ledger, objectives(per_s="95 /s"))
    written = json.loads(json.dumps(plain(eight)))
    assert [each["best"] for each in written["variants"]] == [False, True, False]
    assert written["objectives"] == {"per_s": "95 /s"}
    assert set(written["variants"][0]["split_ms"]) == set(PARTS)


parts = st.fixed_dictionaries({part: st.floats(0, 1e3) for part in PARTS})


@given(parts, st.floats(0, 1e3), st.integers(10, 200))
def test_a_bar_is_as_long_as_its_time_and_so_is_each_part(split_ms, more_ms, width):
    longest_ms = sum(split_ms.values()) + more_ms + 1e-6
    drawn = bar(split_ms, longest_ms, width)
    assert len(drawn) == round(width * sum(split_ms.values()) / longest_ms)
    for part, symbol in zip(PARTS, "nqi#o.", strict=True):
        assert abs(drawn.count(symbol) - width * split_ms[part] / longest_ms) <= 1 + 1e-9
    assert drawn == "".join(sorted(drawn, key="nqi#o.".index)), "in the order that it happens"
