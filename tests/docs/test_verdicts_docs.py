"""docs/verdicts.md says what the code does: every code, every default, every figure."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest

from pytest_inferbench.judge.runs import DEFAULT_SPREAD, Run, StoredSessions, judge_stored
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import resolve

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_inferbench"
TEXT = (ROOT / "docs/verdicts.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]


def codes_of(source: str) -> set[str]:
    """The codes that a module puts into messages: not those it compares with or keeps in sets."""
    tree = ast.parse(source)
    asked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.Set)
        for inner in ast.walk(node)
    }
    return {
        match[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in asked
        if (match := re.match(r"\[?(IB-\d{3})(\]|$)", node.value))
    }


def used() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    told = PACKAGE / "report/codes.py"  # what codes mean: none of them is made there
    for path in [*PACKAGE.rglob("*.py"), ROOT / "fixtures/detector/scenes.py"]:
        if path == told:
            continue
        base = PACKAGE if path.is_relative_to(PACKAGE) else ROOT
        for code in codes_of(path.read_text(encoding="utf-8")):
            found.setdefault(code, set()).add(path.relative_to(base).as_posix())
    return found


def test_every_code_has_one_row_that_names_where_it_is_used():
    rows = [row for row in ROWS if re.fullmatch(r"IB-\d{3}", row[0])]
    codes = [row[0] for row in rows]
    assert codes == sorted(set(codes)), "a row for each code, in order"
    # A code that appears in a new file must be the same thing there: its row is read again then.
    assert {row[0]: set(re.findall(r"`(.+?)`", row[2])) for row in rows} == used()


def test_codes_are_found_where_messages_are_made():
    source = (
        'raise E("IB-101", "x")\nnotice = f"[IB-202] {x}"\nif code == "IB-303": pass\n'
        'FATAL = frozenset({"IB-404"})\n"""A docstring about IB-505."""\n'
    )
    assert codes_of(source) == {"IB-101", "IB-202"}


def test_the_default_spreads_are_the_package_s():
    start = next(i for i, row in enumerate(ROWS) if row[:2] == ["hardware", "p5"])
    statistics = ROWS[start][1:]
    written = {
        row[0].strip("`").partition("-")[0]: dict(zip(statistics, map(float, row[1:]), strict=True))
        for row in ROWS[start + 2 : start + 2 + len(DEFAULT_SPREAD)]
    }
    assert written == DEFAULT_SPREAD


@pytest.mark.parametrize("row", [row for row in ROWS if re.match(r"\d+( that agree)?$", row[0])])
def test_what_can_be_heard_is_what_the_judge_hears(row):
    sessions = int(row[0].split()[0])
    for hardware, statistic, cell in zip(
        ("cpu-x", "cpu-x", "nvidia-x", "nvidia-x"), ("p5", "p50") * 2, row[1:], strict=True
    ):
        red, passing = (int(figure) for figure in re.findall(r"([+-]\d+) %", cell))
        budget = resolve({}, statistic, "fp32", hardware)

        def judged(change, budget=budget, hardware=hardware):
            stored = StoredSessions([[Run(1.0, 1.0)] * 3] * sessions)
            runs = [Run(1 + change, 1.0)] * 3
            return judge_stored(
                budget, runs, stored, hardware=hardware, comparisons=2, same_speed=0.08
            )

        assert round(judged(0).smallest_visible * 100) == red
        assert judged((red + 1) / 100).verdict is Verdict.REGRESSED
        assert judged((red - 1) / 100).verdict is Verdict.INCONCLUSIVE
        assert judged((passing - 1) / 100).verdict in (Verdict.PASS, Verdict.IMPROVED)
        assert judged((passing + 1) / 100).verdict is Verdict.INCONCLUSIVE
        assert math.isclose(judged(0).baseline, 1)
