"""What the comparisons keep and show: medians, decisions, peaks; a run that was stopped goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from field.kept import Kept
from field.tables import _failed_share, decided, field_page, scaling_page

from pytest_inferbench.serving.decision import DEFAULT, ladder_of
from pytest_inferbench.serving.scaling import Point, Price, scale
from pytest_inferbench.settings.objectives import parse_objectives

FACTS = {"hardware": "cpu-a-2c", "cpus": "2", "threads": 1, "seconds": 2.0}
WAY = SimpleNamespace(server="triton", how="grpc", label="Triton, gRPC")


def ladder():
    rungs = {word: parse_objectives(dict(each), pytest.fail) for word, each in DEFAULT.items()}
    return ladder_of(rungs, "do not ship")


def run(p95, failures=0):
    figures = {"per_s": 100.0, "mean": 9.0, "p50": 8.0, "p95": p95, "p99": p95}
    return {**figures, "failures": failures, "compute_ms": 4.0, "bytes_out": 442368.0}


def test_what_is_kept_is_found_again_and_of_something_else_refused(tmp_path):
    path = tmp_path / "folder" / "kept.json"
    Kept(path, FACTS).add("one", {"p95": 1.5})
    again = Kept(path, FACTS)
    assert "one" in again
    assert "two" not in again
    again.add("two", {"p95": 2})
    assert json.loads(path.read_text())["entries"] == {"one": {"p95": 1.5}, "two": {"p95": 2}}
    with pytest.raises(SystemExit, match="was measured on"):
        Kept(path, {**FACTS, "threads": 2})


def test_a_way_has_medians_and_a_word():
    entries = {f"triton grpc 8 {n}": run(p95) for n, p95 in enumerate((40, 41, 39.5))}
    entries |= {f"triton grpc 1 {n}": run(12 + n / 10) for n in range(3)}
    entries["triton grpc alone"] = {"serialize_ms": 0.3, "deserialize_ms": 0.1}
    rows = [decided(WAY, clients, entries, ladder()) for clients in (1, 8)]
    assert [row["decision"] for row in rows] == ["ship", "acceptable"]
    assert rows[1]["p95"] == 40
    assert decided(WAY, 2, entries, ladder()) is None
    page = field_page(rows, FACTS)
    assert "medians of\n3 runs" in page
    assert "| Triton, gRPC | 100 | 8.00 | 40.00 | 9.00 | 442,368 |  | 0.30 | 0.10 | 4.00 |" in page


def test_what_failed_is_a_share_of_what_was_asked():
    assert _failed_share({**run(40, failures=50), "requests": 150}) == 0.25
    assert _failed_share(run(40, failures=50)) == 1
    assert _failed_share(run(40)) == 0


def test_a_sweep_says_what_is_a_lower_bound_and_what_a_million_costs():
    points = [
        Point(1, 1, (100,), (10,)),
        Point(1, 4, (101,), (40,)),
        Point(2, 1, (100,), (10,)),
        Point(2, 4, (180,), (22,)),
    ]
    facts = {**FACTS, "model": "net", "protocol": "grpc"}
    page = scaling_page(points, scale(points, Price(3.6)), facts, "at 3.6 an hour")
    assert "| 1 | 101 | 4 | 40.00 | 1 | 100% | 9.9 |" in page
    assert "| 2 | >= 180 | 4 | 22.00 | not reached | 89% | 5.56 |" in page
    assert "| 2 | 100 (10.0) | 180 (22.0) |" in page
