"""docs/troubleshooting.md: each code has a section that is whole, and a test that provokes it.

The register names the test that brings each message about for real; it must be there, and must
speak of the code. What the page shows of a message is held against one that is provoked here.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from pathlib import Path

import onnx
import pytest

from pytest_inferbench.cli import main
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.runs import Run, StoredSessions, judge_stored
from pytest_inferbench.ledger import Entry
from pytest_inferbench.report.explanations import explained, pointer
from pytest_inferbench.report.messages import statement
from pytest_inferbench.settings import load
from pytest_inferbench.settings.budgets import resolve

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (IB-\d{3})\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))

PROVOKED = {
    "IB-103": "settings/test_loader.py::test_a_file_that_cannot_be_read_is_one_error",
    "IB-201": "plugin/test_outcomes.py::test_a_misspelt_requirement_names_the_nearest",
    "IB-202": "plugin/test_outcomes.py::test_requiring_what_cannot_run_fails",
    "IB-203": "test_environments.py::test_what_is_no_interpreter_here_is_a_fault_of_the_settings",
    "IB-208": "remote/test_remote_gate.py::test_a_host_that_is_something_else_is_a_failure",
    "IB-301": "worker/test_client.py::test_each_end_is_one_named_error",
    "IB-302": "worker/test_client.py::test_a_hang_is_killed_at_its_limit_and_says_where_it_was",
    "IB-303": "worker/test_client.py::test_memory_over_the_limit_is_killed",
    "IB-305": "docs/test_troubleshooting.py::test_a_worker_that_cannot_start",
    "IB-323": "backends/test_ort.py::test_options_that_cannot_be_honoured_are_refused",
    "IB-324": "backends/test_ort.py::test_a_session_that_fell_back_is_refused",
    "IB-326": "plugin/test_bad_input.py::test_an_unknown_op",
    "IB-405": "artifacts/test_inspect.py::test_external_data_missing_or_short",
    "IB-501": "test_handles.py::test_faults_fail_whatever_the_budgets_and_leave_no_figure",
    "IB-503": "test_handles.py::test_a_budget_below_the_null_is_refused_with_what_to_do",
    "IB-601": "plugin/test_reasons.py::test_every_kind_of_end_says_what_happened",
    "IB-603": "test_timing.py::test_a_regression_is_believed_when_fresh_launches_confirm_it",
    "IB-610": "report/test_messages.py::test_what_is_inconclusive_says_what_would_decide",
    "IB-612": "test_timing.py::test_too_few_runs_that_count_say_why_the_others_do_not",
    "IB-614": "judge/test_runs.py::test_a_machine_at_another_speed_says_nothing_of_the_code",
    "IB-701": (
        "plugin/test_gate.py::test_a_first_run_has_verdicts_and_says_that_baselines_are_missing"
    ),
    "IB-711": "baselines/test_baseline_store.py::test_a_folder_in_place_of_the_file_is_an_error",
}


def test_every_section_is_whole_and_has_a_test_that_provokes_its_message():
    assert list(SECTIONS) == sorted(PROVOKED)
    for code, body in SECTIONS.items():
        assert re.match(r"\n\*[A-Z][^\n]+\.\*\n", body), f"{code} has no line that says what it is"
        assert f"(#{code.lower()})" in TEXT, f"{code} is not in the table at the head"
        parts = re.findall(r"^\*\*(\w+)\.\*\*", body, re.MULTILINE)
        assert parts == ["Why", "Do", "Check"], code
        assert f"[{code}]" in body.split("**Why.**")[0], f"{code} shows no message of its own"


@pytest.mark.parametrize("code", sorted(PROVOKED))
def test_the_test_is_there_and_speaks_of_the_code(code):
    file, _, name = PROVOKED[code].partition("::")
    source = (ROOT / "tests" / file).read_text(encoding="utf-8")
    (test,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    spoken = " ".join(ast.unparse(each) for each in (*test.decorator_list, *test.body))
    constants = re.findall(r"\b[A-Z][A-Z_]+\b", spoken)  # parameters that stand above the test
    spoken += " ".join(
        ast.unparse(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in constants
    )
    assert code in spoken
    assert not any("skip" in ast.unparse(each) for each in test.decorator_list)


def test_a_worker_that_cannot_start():
    from pytest_inferbench.worker.client import Environment, Limits, WorkerError, launch

    with pytest.raises(WorkerError, match="no worker could be started") as raised:
        launch(Environment("default", sys.executable), Limits(open_timeout_s=0.001))
    assert raised.value.code == "IB-305"
    check_shown(str(raised.value))


def test_wrong_settings(tmp_path):
    (tmp_path / "net.onnx").write_text("")
    model = '[models.net]\npath = "net.onnx"\ntask = "tensers"\nbudgets = { p55 = "+5%" }\n'
    (tmp_path / "inferbench.toml").write_text(model)
    with pytest.raises(InferbenchError) as raised:
        load(tmp_path)
    check_shown(str(raised.value))


@pytest.mark.parametrize(
    ("code", "runs"),
    [
        ("IB-610", [Run(1.02, 1.0)] * 3),
        ("IB-612", [Run(1.0, 1.0)] * 2),
        ("IB-614", [Run(1.5, 1.5)] * 3),
    ],
)
def test_verdicts_that_are_none(code, runs):
    stored = StoredSessions([[Run(1.0, 1.0)] * 3])
    budget = resolve({}, "p5", "fp32", "cpu-x")
    found = judge_stored(budget, runs, stored, hardware="cpu-x", comparisons=2, same_speed=0.08)
    assert found.code == code
    check_shown(f"{statement(found)}; {found.detail}")


def test_weights_that_are_missing(tmp_path, save_net):
    from pytest_inferbench.artifacts.inspect import inspect

    how = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
    save_net(tmp_path / "net.onnx", **how)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(InferbenchError) as raised:
        inspect(tmp_path / "net.onnx")
    check_shown(str(raised.value))


def test_a_model_and_options_that_onnx_runtime_does_not_take(tmp_path, save_net):
    pytest.importorskip("onnxruntime")
    from pytest_inferbench.backends.ort import OnnxRuntime

    path = tmp_path / "net.onnx"
    save_net(path)
    told = {"provider": "CPUExecutionProvider"}
    cases = [
        ({**told, "intra_op_threads": 2}, path),
        ({"provider": "NoSuchExecutionProvider"}, path),
    ]
    newer = onnx.load(path)
    newer.opset_import[0].version = 99
    onnx.save(newer, tmp_path / "newer.onnx")
    cases.append((told, tmp_path / "newer.onnx"))
    for options, file in cases:
        with pytest.raises(InferbenchError) as raised:
            OnnxRuntime().open(file, options, "fp32")
        check_shown(str(raised.value))


def check_shown(message):
    """Hold the page's example of a message against one: its words, but not names and numbers."""
    (code,) = set(re.findall(r"\[(IB-\d{3})\]", message))
    shown = SECTIONS[code].split("**Why.**")[0].split(f"[{code}]", 1)[1]
    real = message.split(f"[{code}]", 1)[1]
    words, said = _words(shown), _words(real)
    matcher = difflib.SequenceMatcher(None, words, said, autojunk=False)
    alike = sum(match.size for match in matcher.get_matching_blocks()) / len(words)
    assert alike > 0.7, f"{code} is shown as\n{shown}\nand reads\n{real}"


def _words(text):
    """The words of a message, without paths and without where it came from."""
    text = re.sub(r"`\w+` in environment \w+:|\S*/\S+", "", text)
    return re.findall(r"\b[a-z]{2,}", text.lower())


def test_explain_prints_the_section_the_row_or_the_error(capsys):
    assert main(["explain", "IB-603", "702"]) == 0
    out = capsys.readouterr().out
    assert "IB-603\n\n*Slower than the baseline.*" in out
    assert "**Do.**" in out
    assert "IB-702: recorded by `--update-baselines`" in out
    assert "IB-610" not in out
    for odd in ("IB-999", "IB-6", "", "(", "603 702"):
        assert main(["explain", odd]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "IB-930" in said.err
    assert explained("ib-711").startswith("IB-711")


def test_the_pointer_names_failures_first_and_nothing_that_is_as_it_should_be():
    def entry(outcome, reason="", *codes):
        judged = [{"code": code, "verdict": "x"} for code in codes]
        return Entry("t", outcome, "c", reason, payload={"judgements": judged})

    entries = [
        entry("skipped", "[IB-204] cannot run", "IB-701"),
        entry("failed", "x: [IB-601] y", "IB-601", "IB-600"),
        entry("failed", "require: [IB-202] z"),
    ]
    line = pointer(entries, ["environment: [IB-203] gone", "plain"])
    assert line == "what to do: inferbench explain IB-601 IB-202 IB-701 IB-203"
    assert pointer([entry("passed", "", "IB-600")], ["plain"]) == ""
