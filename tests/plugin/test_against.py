"""Two builds side by side: `--inferbench-against`, `--inferbench-against-model`, `speedup`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

COMPARING = 'burst = "10 ms"\nround = "100 ms"\nwarmup_floor = "20 ms"\ncompare_for = "40 s"\n'


@pytest.fixture
def comparing(project):
    """The project, with short rounds, and budgets that tests of a busy machine can decide."""
    settings = project.path / "inferbench.toml"
    settings.write_text(
        settings.read_text().replace("[latency]", f"[latency]\n{COMPARING}")
        + '\n[models.net.budgets]\np5 = "+60%"\np50 = false\n'
    )
    return project


def cell_of(folder):
    (cell,) = json.loads((folder / "out.json").read_text())["cells"]
    return cell


def judgement(folder):
    (test,) = cell_of(folder)["tests"]
    return test


@pytest.mark.slow
def test_more_work_than_the_older_file_is_heard_and_the_same_file_passes(
    comparing, gate, write_model
):
    write_model(comparing.path / "old.onnx", layers=4)
    asked = ("-m", "latency", "--inferbench-against-model", "old.onnx", "--inferbench-json")
    result = gate(*asked, "out.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["net-ort-cpu-fp32-*: p5 *(between * and *), * rounds beside *"])
    said = judgement(comparing.path)
    assert said["judgements"][0]["code"] == "IB-600"
    assert said["figures"]["rounds"] >= 5
    assert said["figures"]["against_p5_ms"] > 0
    (beside,) = cell_of(comparing.path)["comparisons"]
    assert (beside["name"], len(beside["rounds"])) == ("against", said["figures"]["rounds"])
    assert all(set(each["change"]) >= {"p5", "p50", "memory"} for each in beside["rounds"])
    assert not (comparing.path / "baselines").exists()

    write_model(comparing.path / "net.onnx", layers=16)
    result = gate(*asked, "out.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*net on ort-cpu at fp32*: the artifact differs; p5 regressed",
            "*IB-604*p5 regressed:*against*budget +60%*",
            "*rounds beside old.onnx in*",
            "*compared with: old.onnx",
            "*what to do:*",
        ]
    )


@pytest.mark.slow
def test_another_environment_is_compared_with_and_named(comparing, gate):
    """The same Python again: nothing differs, and that is said by passing."""
    environment = Path(sys.executable).parents[1]
    result = gate("-m", "latency", "--inferbench-against", environment, "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=1)


def test_an_environment_of_the_settings_may_be_named(comparing, gate):
    settings = comparing.path / "inferbench.toml"
    settings.write_text(
        settings.read_text()
        + f'\n[environments.other]\nbackends = ["ort-cuda"]\npython = "{sys.executable}"\n'
    )
    result = gate("-m", "latency", "--inferbench-against", "other")
    result.assert_outcomes(passed=1)


@pytest.mark.slow
def test_where_the_other_side_cannot_run_nothing_is_concluded(comparing, gate, tmp_path):
    """No verdict is no pass: skipped with a code, and a failure where it is required."""
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    result = gate(
        "-m", "latency", "--inferbench-against", tmp_path / "bare", "-rs",
        "--inferbench-require", "ort-cpu",
    )  # fmt: skip
    result.assert_outcomes(skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*IB-619*nothing to compare with*"])
    assert result.ret == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--inferbench-against", "nowhere"], "*IB-212*nowhere*no such interpreter*"),
        (["--inferbench-against", "/bin/false"], "*IB-203*/bin/false did not answer*"),
        (["--inferbench-against-model", "none.onnx"], "*IB-214*there is no file*none.onnx*"),
        (
            ["--inferbench-against-model", "net.onnx", "--update-baselines"],
            "*IB-213*compares without a baseline*",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(comparing, gate, arguments, says):
    result = gate("-m", "latency", *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([says])


def test_an_older_file_with_other_inputs_cannot_be_compared(comparing, gate, write_model):
    write_model(comparing.path / "old.onnx", size=48)
    result = gate("-m", "latency", "--inferbench-against-model", "old.onnx")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*IB-215*old.onnx takes x:*"])


def test_a_failure_of_the_other_side_is_named_as_its_own(comparing, gate):
    """It has the right inputs, and an operator that nobody knows."""
    import onnx

    model = onnx.load(comparing.path / "net.onnx")
    model.graph.node[0].op_type = "Convolute"
    onnx.save(model, comparing.path / "old.onnx")
    result = gate("-m", "latency", "--inferbench-against-model", "old.onnx")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*old.onnx, to compare with, failed:*"])


@pytest.fixture
def with_speedup(comparing):
    """Ask of the fp32 cell how it does beside the int8 one, which is not selected."""

    def ask(factor):
        settings = comparing.path / "inferbench.toml"
        head = settings.read_text().partition("\n[models.net.budgets.speedup]")[0]
        settings.write_text(
            f'{head}\n[models.net.budgets.speedup]\n"ort-cpu-fp32 / ort-cpu-int8" = {factor}\n'
        )

    return ask


@pytest.mark.slow
def test_a_speedup_is_judged_beside_a_cell_that_was_not_selected(with_speedup, comparing, gate):
    with_speedup(0.01)
    result = gate("-m", "speedup", "--inferbench-json", "out.json")
    result.assert_outcomes(passed=1)
    assert judgement(comparing.path)["figures"]["speedup_over_ort-cpu-int8"] > 0.01

    with_speedup(100)
    result = gate("-m", "speedup")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*speedup regressed", "*IB-605*budget 100x of ort-cpu-int8*", "*times as fast*"]
    )


def test_only_cells_with_such_a_budget_have_the_test(project, gate):
    result = gate("-m", "speedup")
    assert result.ret == 5


def test_a_speedup_over_what_cannot_run_here_is_no_pass(comparing, gate):
    settings = comparing.path / "inferbench.toml"
    settings.write_text(
        settings.read_text() + '\n[models.net.budgets.speedup]\n"ort-cpu-fp32 / ort-dml-fp32" = 2\n'
    )
    result = gate("-m", "speedup", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*IB-619*ort-dml at fp32 cannot run here*"])
    assert result.ret == 1
