"""The record of cases: merged, compared, read with distrust."""

from __future__ import annotations

import difflib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.onnx_cases import baseline
from pytest_inferbench.onnx_cases.outcomes import Kind

NOW = "2026-01-01T00:00:00Z"
OUTCOMES = st.dictionaries(st.sampled_from([f"test_{i}" for i in range(20)]), st.sampled_from(Kind))
CELL = "ort-cpu fp32"


def record(outcomes, onnx="1.23.2"):
    return baseline.record_of(outcomes, onnx=onnx, recorded=NOW)


def merged(*steps, replace=False):
    file = baseline.CaseBaseline(hardware="cpu-x")
    for version, outcomes, onnx in steps:
        file = baseline.merged(file, CELL, version, record(outcomes, onnx), replace=replace)
    return file


@given(OUTCOMES)
def test_outcomes_survive_the_file(tmp_path_factory, outcomes):
    folder = tmp_path_factory.mktemp("baselines")
    path = baseline.write(folder, merged(("rt 1.0", outcomes, "1")))
    read = baseline.read(folder, "cpu-x")
    assert read.cells[CELL]["rt 1.0"].outcomes() == outcomes
    before = path.read_bytes()
    baseline.write(folder, read)
    assert path.read_bytes() == before


@given(OUTCOMES, OUTCOMES)
def test_a_part_of_the_cases_leaves_the_others_as_they_are(first, second):
    file = merged(("rt 1.0", first, "1"), ("rt 1.0", second, "1"))
    assert file.cells[CELL]["rt 1.0"].outcomes() == {**first, **second}


@given(OUTCOMES, OUTCOMES)
def test_another_onnx_or_a_replacement_starts_anew(first, second):
    file = merged(("rt 1.0", first, "1"), ("rt 1.0", second, "2"))
    assert file.cells[CELL]["rt 1.0"].outcomes() == second
    file = merged(("rt 1.0", first, "1"), ("rt 1.1", second, "1"), replace=True)
    assert list(file.cells[CELL]) == ["rt 1.1"]


def test_versions_are_ordered_by_number_and_the_oldest_are_dropped():
    count = baseline.MAX_VERSIONS + 3
    versions = [f"rt 1.{i}.0" for i in range(count)]
    file = merged(*((version, {"test_a": Kind.PASSED}, "1") for version in reversed(versions)))
    # what was recorded last is never what is dropped
    assert list(file.cells[CELL]) == [versions[0], *versions[4:]]


@pytest.mark.parametrize(
    ("running", "compared"),
    [
        ("rt 1.9.0", "rt 1.9.0"),
        ("rt 1.10.0", "rt 1.10.0"),
        ("rt 1.11.2", "rt 1.10.0"),
        ("rt 1.9.5", "rt 1.9.0"),
        ("rt 1.2.0", "rt 1.9.0"),
    ],
)
def test_the_newest_that_is_not_newer_is_compared_with(running, compared):
    versions = {version: record({}) for version in ("rt 1.10.0", "rt 1.9.0")}
    assert baseline.compared_with(versions, running) == compared
    assert baseline.compared_with({}, running) is None


def test_a_case_that_moves_is_one_line_less_and_one_line_more(tmp_path):
    before = dict.fromkeys([f"test_{i:02}" for i in range(50)], Kind.PASSED)
    before["test_50"] = Kind.FAILED
    path = baseline.write(tmp_path, merged(("rt 1.0", before, "1")))
    first = path.read_text().splitlines()
    baseline.write(tmp_path, merged(("rt 1.0", {**before, "test_07": Kind.FAILED}, "1")))
    changed = [
        line[0] + line[1:].strip()
        for line in difflib.ndiff(first, path.read_text().splitlines())
        if line[0] in "+-"
    ]
    assert sorted(changed) == ['+"test_07",', '-"test_07",']


def tampered(tmp_path, change):
    path = baseline.write(tmp_path, merged(("rt 1.0", {"test_a": Kind.PASSED}, "1")))
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda plain: plain.update(schema=2), "IB-712"),
        (lambda plain: plain.update(schema="1"), "IB-711"),
        (lambda plain: plain.update(hardware="cpu-y"), "IB-711"),
        (lambda plain: plain["cells"][CELL]["rt 1.0"].update(failed=["test_a"]), "IB-711"),
        (lambda plain: plain["cells"][CELL]["rt 1.0"].update(skipped=["test_b"]), "IB-711"),
        (lambda plain: plain["cells"][CELL]["rt 1.0"].pop("onnx"), "IB-711"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_an_error(tmp_path, change, code):
    tampered(tmp_path, change)
    with pytest.raises(InferbenchError) as caught:
        baseline.read(tmp_path, "cpu-x")
    assert caught.value.code == code


def test_no_file_is_no_record(tmp_path):
    assert baseline.read(tmp_path, "cpu-x").cells == {}
