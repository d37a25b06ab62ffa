"""A project whose cases come from a cache that the tests share: to generate them takes seconds."""

from __future__ import annotations

import os

import pytest

SETTINGS = """
cache = "{cache}"
lock = ".lock"

[worker]
call_timeout = "10 s"

[matrix]
backends = {backends}
precisions = ["fp32"]
"""


@pytest.fixture(scope="session")
def cases_cache(tmp_path_factory):
    """One cache for all processes of a test session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "onnx-cases-cache"


@pytest.fixture
def ops_project(pytester, cases_cache):
    """Write a project's settings, for these backends."""

    def write(*backends):
        text = SETTINGS.format(cache=cases_cache, backends=list(backends))
        (pytester.path / "inferbench.toml").write_text(text.replace("'", '"'))
        return pytester

    return write


@pytest.fixture
def run_ops(pytester):
    """Run the cases that `-k` names, in a process of its own."""

    def run(keywords, *arguments, timeout=180):
        return pytester.runpytest_subprocess(
            "--inferbench-suites",
            "-p",
            "no:randomly",
            "-m",
            "onnx_ops",
            "-k",
            keywords,
            *arguments,
            timeout=timeout,
        )

    return run
