"""docs/schema.json is what the types say: `inferbench report schema > docs/schema.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pytest_inferbench.report.document import CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import (
    BatchResult,
    ComparisonResult,
    CoverageResult,
    JudgementResult,
    LoadPoint,
    PlacementResult,
    RecordedLoad,
    RecordedSession,
    RoundResult,
    RunResult,
    StudyResult,
    VariantResult,
)
from pytest_inferbench.report.reading import encode, schema_text

VARIANT = VariantResult(cell="i", backend="b", measured=False)
FILE = Path(__file__).parents[2] / "docs/schema.json"


def test_the_published_schema_is_that_of_the_types():
    assert FILE.read_text(encoding="utf-8") == schema_text(), "write it anew"


def test_it_knows_figures_that_json_has_no_words_for():
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    value = schema["$defs"]["JudgementResult"]["properties"]["value"]
    assert {"enum": ["nan", "inf", "-inf"]} in value["anyOf"]
    assert schema["$defs"]["CellResult"]["description"]


def test_a_document_with_every_kind_of_part_is_what_the_schema_says():
    jsonschema = pytest.importorskip("jsonschema", reason="an extra of this project's tests")
    cell = CellResult(
        id="i",
        model="m",
        backend="b",
        precision="p",
        hardware="h",
        figures={"a": math.nan, "b": 1.0},
        tests=(
            TestResult(
                test="t",
                outcome="passed",
                reason="",
                duration_s=1.0,
                judgements=(JudgementResult(metric="p5", verdict="pass", code="c", value=1.0),),
                batches=(BatchResult(batch=1, per_s=math.inf, p50_ms=1.0),),
                load=(LoadPoint(clients=8, per_s=1.0),),
                placement=PlacementResult(nodes={"CPU": 3}),
            ),
        ),
        runs=(RunResult(watts=9.0, watts_over_time=((0.0, 9.0),)),),
        recorded=(RecordedSession(recorded="2026-01-01T00:00:00Z", load={"8": RecordedLoad()}),),
        comparisons=(ComparisonResult(name="n", label="l", seconds=1, rounds=(RoundResult(),)),),
    )
    document = Results(
        inferbench="1",
        recorded="2026-01-01T00:00:00Z",
        sessions=(SessionResult(id="s", recorded="2026-01-01T00:00:00Z"),),
        cells=(cell,),
        serving=(StudyResult(model="m", precision="p", clients=8, variants=(VARIANT,)),),
        onnx_ops=(CoverageResult(cell="i", ops=({"op": "Add", "opset": 7, "passed": 1},)),),
    )
    validator = jsonschema.Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))
    plain = json.loads(encode(document))
    validator.validate(plain)
    plain["cells"][0]["figures"]["a"] = "much"
    assert not validator.is_valid(plain)
