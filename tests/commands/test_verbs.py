"""What holds for every verb: help with examples and exit statuses, JSON and nothing else."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

import pytest

from pytest_inferbench.cli import main, make_parser
from pytest_inferbench.report.document import Results, SessionResult
from pytest_inferbench.report.reading import encode

DOCS = (Path(__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
DOCUMENTS = {"report markdown", "report html", "report history", "report schema"}
"""Verbs whose output is a document of a kind of its own."""


def verbs(parser, *path):
    """Yield every parser by its verbs, those that only have others below them included."""
    if path:
        yield " ".join(path), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from verbs(below, *path, name)


ALL = dict(verbs(make_parser()))
LEAVES = {
    name: parser
    for name, parser in ALL.items()
    if not any(other.startswith(f"{name} ") for other in ALL)
}


@pytest.mark.parametrize("name", ALL)
def test_help_has_examples_and_exit_statuses_and_the_docs_have_them_too(name):
    text = ALL[name].format_help()
    examples = re.findall(r"^example: (inferbench .+)$", text, re.MULTILINE)
    assert examples
    # a group's examples are those of what is below it
    assert all(example.startswith(f"inferbench {name}") for example in examples)
    statuses = re.findall(r"^  ([0-9]+)  \S", text.partition("exit status:")[2], re.MULTILINE)
    assert statuses == ["0", "1", "2"]
    if name in LEAVES:
        assert f"inferbench {name}" in DOCS, "docs/commands.md has every verb"


@pytest.mark.parametrize("name", sorted(set(LEAVES) - DOCUMENTS))
def test_every_verb_can_print_json(name):
    assert "--json" in LEAVES[name].format_help()


@pytest.mark.parametrize("name", ALL)
def test_bad_arguments_are_status_2_with_the_usage_on_stderr(name, capsys):
    with pytest.raises(SystemExit) as error:
        main([*name.split(), "--nonsense"])
    captured = capsys.readouterr()
    assert error.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("usage: inferbench")


@pytest.fixture
def folder(tmp_path, monkeypatch, save_net):
    save_net(tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(
        'cache = "kept"\nlock = "lock"\n[models.net]\npath = "net.onnx"\ntask = "tensors"\n'
        '[matrix]\nbackends = ["ort-cpu"]\nprecisions = ["fp32"]\n'
    )
    session = SessionResult(id="s", recorded="2026-01-02T00:00:00Z")
    results = Results(inferbench="0", recorded=session.recorded, sessions=(session,))
    (tmp_path / "gate.json").write_bytes(encode(results))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        "init --stdout --no-run",
        "doctor",
        "cache",
        "cache --clear",
        "baselines list",
        "baselines prune --keep 5",
        "baselines prune --unused --yes",
        "baselines merge",
        "models list",
        "report merge gate.json",
        "bisect net.onnx net.onnx",
    ],
)
def test_with_json_stdout_is_json_and_nothing_else(folder, arguments, capfd):
    assert main([*arguments.split(), "--json"]) == 0
    assert isinstance(json.loads(capfd.readouterr().out), dict | list)


@pytest.mark.parametrize(
    "arguments", ["doctor", "cache", "baselines list", "baselines prune --keep 1", "models list"]
)
def test_what_is_wrong_is_status_1_on_stderr_with_a_code(folder, arguments, capsys):
    (folder / "inferbench.toml").write_text("[modles]\n")
    for json_too in ([], ["--json"]):
        assert main([*arguments.split(), *json_too]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("[IB-103]")


def test_an_interrupt_ends_a_verb_as_shells_expect(folder, monkeypatch, capsys):
    from pytest_inferbench.commands import cache

    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "run", interrupted)
    assert main(["cache"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
