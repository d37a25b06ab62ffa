"""Exit statuses: what did not run did not pass."""

from __future__ import annotations

import pytest

FOREIGN = "def test_theirs():\n    pass\n"
OWN = "def test_own(cell):\n    pass\n"


@pytest.fixture
def matrix(project):
    """Let the project ask for a backend that no test machine has."""
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('["ort-cpu"]', '["ort-cpu", "trt"]')
    file.write_text(text.replace('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]'))
    return project


def test_asking_for_what_cannot_run_fails_and_says_why(matrix, gate):
    result = gate("-m", "trt and int8", "-rs")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*IB-204*trt at int8*no NVIDIA GPU here*"])
    result.stdout.fnmatch_lines(["*nothing reached a verdict*"])
    result.assert_outcomes(skipped=1, deselected=None)


def test_beside_a_foreign_test_that_passes_it_is_a_skip(matrix, gate):
    matrix.makepyfile(test_theirs=FOREIGN, test_own=OWN)
    result = gate(
        "test_theirs.py", "test_own.py", "-m", "trt or not inferbench", "-k", "theirs or trt"
    )
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=2)


def test_requiring_what_cannot_run_fails(matrix, gate):
    matrix.makepyfile(test_own=OWN)
    result = gate("test_own.py", "--inferbench-require", "trt and int8")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*require::trt and int8*", "*IB-202*1 of 1*", "*cannot run here*"])
    result.assert_outcomes(passed=2, skipped=2, failed=1)


def test_a_requirement_that_is_met_passes(matrix, gate):
    matrix.makepyfile(test_own=OWN)
    result = gate("test_own.py", "--inferbench-require", "ort-cpu", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["require::ort-cpu PASSED*"])


@pytest.mark.parametrize(
    "selection", [("-m", "int8"), ("-k", "int8"), ("--deselect", "test_own.py")]
)
def test_no_selection_makes_a_requirement_vanish(matrix, gate, selection):
    matrix.makepyfile(test_own=OWN)
    result = gate("test_own.py", "--inferbench-require", "ort-cpu and fp32", *selection)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*none of its tests ran*"])


def test_a_misspelt_requirement_names_the_nearest(matrix, gate):
    matrix.makepyfile(test_own=OWN)
    result = gate("test_own.py", "--inferbench-require", "ort-cup")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*IB-201*matches no cell*ort-cpu*"])


def test_a_requirement_that_is_no_expression_is_a_usage_error(matrix, gate):
    result = gate("--inferbench-require", "ort-cpu and (")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*ort-cpu and (*"])


def test_requirements_are_items_of_their_own(matrix, gate):
    result = gate("--collect-only", "-q", "--inferbench-require", "ort-cpu")
    result.stdout.fnmatch_lines(["require::ort-cpu"])


def test_a_user_s_skip_is_no_verdict(project, gate):
    project.makepyfile(test_own="import pytest\ndef test_own(cell):\n    pytest.skip('later')\n")
    result = gate("test_own.py", "--inferbench-require", "ort-cpu")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*later*"])


def test_last_failed_runs_what_failed(project, gate):
    project.makepyfile(
        test_own="def test_good(cell):\n    pass\ndef test_bad(cell):\n    assert False\n"
    )
    gate("test_own.py").assert_outcomes(passed=1, failed=1)
    gate("test_own.py", "--lf").assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[modles.net]", "models"),
        ('[matrix]\nbackends = ["ort-cup"]', "ort-cpu"),
        ('[models.net]\npath = "gone.onnx"\ntask = "tensors"', "gone.onnx"),
        ('[models.net]\npath = "net.onnx"\ntask = "tensors"\nbudgets = {p51 = "+5%"}', "p5"),
        ('[models.net]\npath = "net.onnx"\ntask = "tensors"\nbudgets = {cosine = 1.5}', "cosine"),
        ('[models.net]\npath = "net.onnx"\ntask = "tensors"\nbudgets = {p99 = "5 MiB"}', "p99"),
        ("not toml", "TOML"),
    ],
)
def test_wrong_settings_end_the_run_before_anything_runs(project, gate, line, expected):
    (project.path / "inferbench.toml").write_text(line + "\n")
    result = gate()
    assert result.ret == 4
    shown = result.stderr.str()
    assert expected in shown
    assert "inferbench.toml" in shown
    assert "Traceback" not in shown


def test_wrong_settings_do_not_disturb_other_tests(project, gate):
    (project.path / "inferbench.toml").write_text("not toml")
    project.makepyfile(test_theirs=FOREIGN)
    gate("test_theirs.py").assert_outcomes(passed=1)
    project.makepyfile(test_own=OWN)
    result = gate("test_own.py")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*inferbench.toml*"])
