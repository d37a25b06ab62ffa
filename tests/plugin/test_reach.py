"""Suites in a folder that pytest leaves out, as a virtual environment in a project is."""

from __future__ import annotations

import pytest

SITE = ".venv/lib/python3/site-packages"

CONFTEST = f"""
from pytest_inferbench.reach import add_suites

def pytest_configure(config):
    add_suites(config, config.rootpath / "{SITE}" / "ours" / "suites")
"""


@pytest.fixture
def layout(pytester):
    for folder in (f"{SITE}/ours/suites/latency", f"{SITE}/ours", f"{SITE}/numpy/tests", "mine"):
        path = pytester.path / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / f"test_in_{path.name}.py").write_text("def test_it():\n    pass\n")
    (pytester.path / ".venv" / "pyvenv.cfg").touch()
    pytester.makeconftest(CONFTEST)
    return pytester


def collected(layout, *arguments):
    result = layout.runpytest_subprocess("--collect-only", "-q", *arguments)
    files = [line.partition("::")[0] for line in result.outlines if "::" in line]
    assert len(files) == len(set(files)), "collected twice"
    return {file.rpartition("/")[2] for file in files}


@pytest.mark.parametrize("arguments", [(), ("mine",), (".",)])
def test_the_suites_are_collected_and_nothing_beside_them(layout, arguments):
    assert collected(layout, *arguments) == {"test_in_mine.py", "test_in_latency.py"}


def test_what_the_user_left_out_of_the_suites_stays_out(layout):
    ignored = f"--ignore={SITE}/ours/suites/latency"
    assert collected(layout, ignored) == {"test_in_mine.py"}
