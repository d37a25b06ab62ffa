"""docs/settings.md names every key and metric, and the defaults it prints are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.settings import load
from pytest_inferbench.settings.metrics import DEFAULTS, METRICS
from pytest_inferbench.settings.schema import (
    EnvironmentSettings,
    LatencySettings,
    MatrixSettings,
    ModelSettings,
    PreprocessSettings,
    QuantizationSettings,
    ServingSettings,
    Settings,
    SpeechSettings,
    WorkerSettings,
)
from pytest_inferbench.settings.units import positive

TEXT = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]
TABLES = (
    Settings,
    ModelSettings,
    PreprocessSettings,
    SpeechSettings,
    QuantizationSettings,
    MatrixSettings,
    EnvironmentSettings,
    WorkerSettings,
    LatencySettings,
    ServingSettings,
)
HEADINGS = {
    Settings: "## Top level",
    ModelSettings: "## `[models.NAME]`",
    PreprocessSettings: "### `[models.NAME.preprocess]`",
    SpeechSettings: "### `[models.NAME.speech]`",
    QuantizationSettings: "### `[models.NAME.quantization]`",
    MatrixSettings: "## `[matrix]`",
    EnvironmentSettings: "## `[environments.NAME]`",
    WorkerSettings: "## `[worker]`",
    LatencySettings: "## `[latency]`",
    ServingSettings: "## `[serving]`",
}


def section(heading: str) -> str:
    return re.split(r"\n##", TEXT.split(f"{heading}\n", 1)[1], maxsplit=1)[0]


def section_keys(heading: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", section(heading), re.MULTILINE)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_has_a_row_and_every_row_a_key(table):
    keys = [f.encode_name for f in msgspec.structs.fields(table)]
    assert section_keys(HEADINGS[table]) == [key for key in keys if not key.startswith("_")]


def test_metrics_are_documented_as_they_are():
    rows = {row[0].strip("`"): row[1:4] for row in ROWS if len(row) == 5 and row[0][0] == "`"}
    assert rows == {
        metric.name: [metric.unit, metric.better, "yes" if metric.relative else "no"]
        for metric in METRICS.values()
    }


def test_default_budgets_are_documented_as_they_are():
    by_precision = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 7}
    header = by_precision.pop("metric")
    by_precision = {name: row for name, row in by_precision.items() if not name.startswith("-")}
    assert tuple(header) == PRECISIONS
    for_all = {row[0].strip("`"): row[1] for row in ROWS if len(row) == 2}
    by_class = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 3}
    for metric, written in DEFAULTS.items():
        if "cpu" in written:
            assert by_class[metric] == [written["cpu"], written["default"]]
        elif "default" in written:
            assert for_all[metric] == str(written["default"])
        else:
            assert [float(cell) for cell in by_precision.pop(metric)] == list(written.values())
    assert by_precision == {}


@pytest.mark.parametrize("table", [WorkerSettings, LatencySettings, ServingSettings])
def test_documented_durations_are_the_defaults(table):
    rows = dict(
        re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|[^|]*\|$", section(HEADINGS[table]), re.M)
    )
    for field in msgspec.structs.fields(table):
        if field.name.endswith("_s"):
            assert positive(rows[field.encode_name].strip('`"'), "s") == field.default


def test_the_examples_of_the_page_load(tmp_path):
    whole = re.search(r"## A whole file\n\n```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    budgets = re.search(r"## Budgets\n.*?```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    nested = re.search(r"nested either way:\n\n```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    options = re.search(r"## `\[backends.NAME\]`\n.*?```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    for file in ("models/yolov8n.onnx", "data/val/instances.json", "data/calib/1.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    own = tmp_path / "inferbench.toml"
    own.write_text(f"{whole}\n{options}")
    assert load(tmp_path).backends["ort-cpu"]
    model = '[models.detector]\npath = "models/yolov8n.onnx"\ntask = "tensors"\n'
    own.write_text(model + budgets)
    assert load(tmp_path).budget("detector", "p50", "fp32", "cpu-a-2c") is None
    own.write_text(f"{model}[models.detector.budgets]\n{nested}")
    settings = load(tmp_path)
    limits = [
        settings.budget("detector", "p99", precision, hardware).limit
        for precision in ("int8", "fp32")
        for hardware in ("nvidia-h200", "cpu-a-2c")
    ]
    assert limits == [2, 20, 3, 30]
