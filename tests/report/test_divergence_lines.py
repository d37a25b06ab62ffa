"""Where graphs diverge, in words a person can act on."""

from __future__ import annotations

import json
import math

import pytest

from pytest_inferbench.accuracy.divergence import Curve, Effect, Finding, Point, Reading
from pytest_inferbench.artifacts.fusion import Fused
from pytest_inferbench.bisection import Divergence
from pytest_inferbench.report.divergence import as_fields, lines, sparkline, table
from pytest_inferbench.report.reading import finite


def divergence(kind="layer", errors=(0.001, 0.3, 0.2), states=("", "", ""), **more):
    points = tuple(
        Point(
            f"t{i}", f"t{i}", f"/n{i}", "Conv", i + 1, (i - 1,) if i else (), (f"/n{i}", f"/r{i}")
        )
        for i in range(len(errors))
    )
    readings = tuple(Reading(e, e, s) for e, s in zip(errors, states, strict=True))
    culprit = None if kind in ("agrees", "unknown") else 1
    finding = Finding(kind, culprit, culprit, (2,), {1: Effect(0.001, 0.19)} if culprit else {})
    return Divergence(finding, Curve(points, readings, (2,), 0.05), 203, 0.2, 1, **more)


def test_the_layer_the_tensor_and_what_it_does_are_told():
    said = lines(divergence())
    assert said["first layer that diverges"] == (
        "/n1 (Conv) with /r1, node 2 of 203: error 0.001 -> 0.3; given the reference's inputs it is"
        " off by 0.3, the median layer by 0.2"
    )
    assert said["first tensor beyond tolerance"] == "'t1' (0.3, tolerance 0.05), of the same layer"
    assert "0.19" in said["what it does"]
    assert said["also"].startswith("/n2 (Conv)")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("agrees", "none: every tensor is within 0.05"),
        ("unknown", "too little could be measured"),
        ("spread", "none stands out"),
        ("together", "right by itself"),
        ("recovers", "none that the outputs show"),
        ("non-finite", "first value that is not finite"),
    ],
)
def test_each_kind_has_its_sentence(kind, words):
    assert words in lines(divergence(kind))["first layer that diverges"]


def test_what_could_not_be_looked_at_is_told():
    said = lines(divergence(failures=(("t0", "[IB-301] died"), ("t2", "x")), notes=("fused",)))
    assert said["could not be looked at"] == "'t0', and 1 more: [IB-301] died"
    assert said["note"] == "fused"


def test_infinite_errors_reach_the_results_as_text():
    fields = as_fields(
        divergence(errors=(0.0, math.inf, None), states=("", "non-finite", "failed"))
    )
    read = json.loads(json.dumps(finite(fields), allow_nan=False))
    assert read["curve"][1] == [2, "t1", "/n1", "Conv", "inf", "inf"]
    assert read["curve"][2][4] is None


def test_the_line_of_bars_rises_with_the_error():
    curve = divergence(errors=(1e-6, 1e-4, 1e-2, 1.0, math.inf), states=("",) * 5).curve
    assert sparkline(curve) == "▁▃▆█!"
    assert sparkline(divergence(errors=(0.0, 0.0), states=("", "")).curve) == "▁▁"


def test_a_long_curve_is_shown_by_its_largest_own_errors():
    found = divergence(errors=tuple(i / 1000 for i in range(100)), states=("",) * 100)
    rows = table(found, most=10)
    assert len(rows) == 12, "a heading, the ten largest, and the output"
    assert "/n99" in rows[-1]


def test_what_the_layer_runs_as_one_with_is_told():
    found = divergence(fused=Fused("Convolution (jit_avx2)", ("/n1", "/r1")))
    assert lines(found)["runs as one"] == "Convolution (jit_avx2) of /n1, /r1"
    told = {"layer": "Convolution (jit_avx2)", "nodes": ["/n1", "/r1"]}
    assert as_fields(found)["culprit"]["fused"] == told
    assert "runs as one" not in lines(divergence())
    assert "fused" not in as_fields(divergence())["culprit"]


def test_a_layer_of_many_nodes_is_told_in_short():
    found = divergence(fused=Fused("kgen", tuple(f"/n{i}" for i in range(100))))
    assert lines(found)["runs as one"].endswith("/n7 and 92 more")
    assert len(as_fields(found)["culprit"]["fused"]["nodes"]) == 100
