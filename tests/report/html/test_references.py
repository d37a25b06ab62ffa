"""Figures published elsewhere: shown as they are, or refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report.html import html
from pytest_inferbench.report.html.references import read_references

SHIPPED = Path(__file__).parents[3] / "fixtures" / "published.toml"


def test_those_of_the_fixtures_are_shown_as_not_measured(drawn):
    references = read_references(SHIPPED)
    text = html(drawn(3), references)
    assert "Published elsewhere, not measured here" in text
    assert len(references) == 9
    assert "52.3 %" in text


def test_json_does_as_well(tmp_path):
    rows = [{"model": "m", "source": "s", "figures": {"p50 ms": 3}}]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"reference": rows}))
    (found,) = read_references(path)
    assert found.figures == {"p50 ms": "3"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("= =", "could not be read"),
        ("x = 1", "no table [[reference]]"),
        ("[[reference]]\nmodel = 'm'\n[reference.figures]\na = 1", "reference 1 has no source"),
        ("[[reference]]\nmodel = 'm'\nsource = 's'", "has no figures"),
        ("[[reference]]\nmodle = 'm'", "nothing is called 'modle'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_fault(tmp_path, text, says):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InferbenchError, match="IB-910") as error:
        read_references(path)
    assert says in str(error.value)
