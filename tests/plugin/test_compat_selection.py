"""Plugins and options that select, order and repeat: cells stay together, requirements last."""

from __future__ import annotations

import itertools

import pytest

OWN = """
    import pathlib

    def test_time(latency):
        assert latency.p50_ms > 0

    def test_red(similarity):
        assert pathlib.Path("green").exists()

    def test_right(similarity):
        assert similarity.cosine > 0.9
"""
REQUIRED = ("--inferbench-require", "ort-cpu and fp32")


@pytest.fixture
def two_cells(project):
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('["fp32"]', '["fp32", "fp16"]'))
    project.makepyfile(test_own=OWN)
    return project


def collected(result):
    """Return the ids that `--co -q` showed."""
    return [line for line in result.outlines if "::" in line]


def assert_in_our_order(ids):
    tests = [each.split("::")[1].split("[") for each in ids if not each.startswith("require::")]
    cells = [cell for _, cell in tests]
    assert len(list(itertools.groupby(cells))) == len(set(cells)), "a cell's tests are apart"
    for _, of_cell in itertools.groupby(tests, key=lambda each: each[1]):
        names = [name for name, _ in of_cell]
        assert "test_time" not in names[:-1], "fresh workers come last"
    assert all(each.startswith("require::") for each in ids[len(tests) :])


def test_what_failed_first_or_alone_takes_requirements_along(two_cells, gate, said):
    first = gate("test_own.py", *REQUIRED, "-x", "-k", "red or right")
    assert first.ret == 1
    first.assert_outcomes(failed=1)  # and the requirement did not pass: it did not run
    failed = [line.split()[1] for line in first.outlines if line.startswith("FAILED")]
    for option in ("--lf", "--ff"):
        ids = collected(gate("test_own.py", *REQUIRED, option, "--co", "-q"))
        assert_in_our_order(ids)
        assert ids[-1] == "require::ort-cpu and fp32", option
        if option == "--lf":
            assert ids[:-1] == failed
        else:
            assert len(ids) == 7
    (two_cells.path / "green").touch()
    again = gate("test_own.py", "--inferbench-require", "ort-cpu and fp16", "--lf")
    # What did not run did not pass, whatever `--lf` left out.
    assert again.ret == 1
    again.assert_outcomes(passed=1, failed=1)
    assert "IB-202" in said(again)


def test_by_steps(two_cells, gate):
    assert gate("test_own.py", *REQUIRED, "--sw", "-k", "red or right").ret == 2
    (two_cells.path / "green").touch()
    result = gate("test_own.py", *REQUIRED, "--sw", "-k", "red or right")
    assert result.ret == 0
    result.assert_outcomes(passed=5)


def test_in_any_order_a_cell_stays_together(two_cells, monkeypatch):
    pytest.importorskip("pytest_randomly", reason="pytest-randomly is not installed")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    result = two_cells.runpytest_subprocess(
        "test_own.py", *REQUIRED, "-p", "no:cacheprovider", "--randomly-seed=1", "--co", "-q"
    )
    ids = collected(result)
    assert len(ids) == 7
    assert_in_our_order(ids)
    assert not (two_cells.path / ".pytest_cache").exists()


@pytest.mark.slow
def test_in_any_order_over_two_processes(two_cells, monkeypatch):
    pytest.importorskip("pytest_randomly", reason="pytest-randomly is not installed")
    pytest.importorskip("xdist")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (two_cells.path / "green").touch()
    result = two_cells.runpytest_subprocess("test_own.py", *REQUIRED, "-n", "2", timeout=120)
    assert result.ret == 0
    result.assert_outcomes(passed=7)


@pytest.mark.slow
def test_repeated_and_shown_as_html(two_cells, gate, said):
    pytest.importorskip("pytest_repeat", reason="pytest-repeat is not installed")
    pytest.importorskip("pytest_html", reason="pytest-html is not installed")
    (two_cells.path / "green").touch()
    result = gate(
        *("test_own.py", *REQUIRED, "--count", "2", "-k", "right or red"),
        *("--html", "report.html", "--self-contained-html"),
    )
    assert result.ret == 0
    result.assert_outcomes(passed=9)
    assert "2 cells: 2 pass" in said(result)
    shown = (two_cells.path / "report.html").read_text()
    assert "require::ort-cpu and fp32" in shown
    assert "net-ort-cpu-fp16" in shown


@pytest.mark.slow
def test_beside_a_reporter_of_another_kind(two_cells, gate, said):
    pytest.importorskip("pytest_sugar", reason="pytest-sugar is not installed")
    (two_cells.path / "green").touch()
    result = gate("test_own.py", *REQUIRED, "--force-sugar", "-k", "right or red")
    assert result.ret == 0
    assert "2 cells: 2 pass" in said(result)
