"""Which tests there are, how they are named, marked, selected and ordered."""

from __future__ import annotations

import pytest


def collected(result):
    return [line for line in result.outlines if "::" in line and "[" in line]


def settings(project, *, backends=("ort-cpu",), precisions=("fp32",)):
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('backends = ["ort-cpu"]', f"backends = {list(backends)}")
    file.write_text(text.replace('precisions = ["fp32"]', f"precisions = {list(precisions)}"))


def test_plain_pytest_collects_the_packaged_suites(gate):
    result = gate("--collect-only", "-q")
    names = {line.partition("::")[2].partition("[")[0] for line in collected(result)}
    assert {"test_similarity", "test_latency", "test_memory", "test_cold_start"} <= names
    assert "test_map_drop" not in names, "no model here is a detector"
    assert result.ret == 0


def test_paths_given_leave_the_suites_out(project, gate):
    project.makepyfile("def test_mine():\n    pass\n")
    result = gate("--collect-only", "-q", "test_paths_given_leave_the_suites_out.py")
    assert not collected(result)
    assert result.ret == 0


@pytest.mark.parametrize(
    ("expression", "count"),
    [("ort-cpu", 2), ("ort and fp32", 1), ("gpu", 2), ("trt and fp16", 1), ("cpu and int8", 0)],
)
def test_markers_are_the_ids_exactly(project, gate, expression, count):
    settings(project, backends=["ort-cpu", "trt"], precisions=["fp32", "fp16"])
    project.makepyfile(test_own="def test_own(cell):\n    pass\n")
    result = gate("--strict-markers", "--collect-only", "-q", "test_own.py", "-m", expression)
    assert len(collected(result)) == count


def test_keywords_select_by_cell(gate):
    result = gate("--collect-only", "-q", "-k", "net-ort-cpu-fp32 and test_latency")
    assert all("test_latency" in line for line in collected(result))
    assert collected(result)


def test_a_marker_narrows_the_cells(project, gate):
    project.makepyfile(
        test_own="""
        import pytest
        @pytest.mark.inferbench(precisions=["int8"])
        def test_none(cell): pass
        @pytest.mark.inferbench(models=["net"], backends=["ort-cpu"])
        def test_one(cell):
            assert cell.model == "net"
        """
    )
    result = gate("test_own.py")
    result.assert_outcomes(passed=1, skipped=1)


@pytest.mark.parametrize(
    ("marker", "nearest"),
    [('precisions=["int7"]', "int8"), ('models=["nett"]', "net"), ('model=["net"]', "models=")],
)
def test_a_misspelt_marker_is_an_error_not_an_empty_set(project, gate, marker, nearest):
    project.makepyfile(
        test_own=f"""
        import pytest
        @pytest.mark.inferbench({marker})
        def test_it(cell): pass
        """
    )
    result = gate("test_own.py")
    assert result.ret not in (0, 5)
    assert nearest in result.stdout.str() + result.stderr.str()


def test_a_cell_s_tests_stand_together_fresh_workers_last(project, gate):
    settings(project, precisions=["fp32", "fp16"])
    order = [
        (line.partition("[")[2], line.partition("::")[2].partition("[")[0])
        for line in collected(gate("--collect-only", "-q"))
    ]
    cells = ["-".join(cell.split("-")[:4]) for cell, _ in order]  # further parameters apart
    assert cells == sorted(cells, key=cells.index), "a cell's tests are apart"
    names = [name for _, name in order]
    first = [name for cell, name in zip(cells, names, strict=True) if cell == cells[0]]
    assert set(first[-3:]) == {"test_latency", "test_memory", "test_cold_start"}


def test_a_project_s_own_fixture_called_cell_is_left_alone(pytester):
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def cell(): return "theirs"
        def test_it(cell): assert cell == "theirs"
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
