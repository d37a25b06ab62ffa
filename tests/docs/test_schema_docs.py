"""docs/schema.json is what the types say: `inferbench report schema > docs/schema.json`."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_inferbench.report.reading import schema_text

FILE = Path(__file__).parents[2] / "docs/schema.json"


def test_the_published_schema_is_that_of_the_types():
    assert FILE.read_text(encoding="utf-8") == schema_text(), "write it anew"


def test_it_knows_figures_that_json_has_no_words_for():
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    value = schema["$defs"]["JudgementResult"]["properties"]["value"]
    assert {"enum": ["nan", "inf", "-inf"]} in value["anyOf"]
    assert schema["$defs"]["CellResult"]["description"]
