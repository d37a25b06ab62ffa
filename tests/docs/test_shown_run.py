"""Which of the commands of ours that pages show are run, and by what; the cheap ones are run here.

A command is run by the test of its page, or here, or is parsed alone (`test_shown.py`) for a reason
that stands here, with the tests that run its like.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from pytest_inferbench.cli import main

PAGES_RUN = {"README.md": "test_readme.py", "docs/start.md": "test_start.py"}

RUN_HERE = [
    "inferbench doctor",
    "inferbench doctor --write",
    "inferbench cache",
    "inferbench cache --clear",
    "inferbench models list",
    "inferbench baselines list",
    "inferbench baselines diff",
    "inferbench baselines diff main",
    "inferbench baselines merge",
    "inferbench baselines prune --keep 5 --unused",
    "inferbench explain IB-603",
    "inferbench explain IB-603 --json",
    "inferbench report merge cpu.json gpu.json jetson.json --to all.json",
    "inferbench report markdown all.json",
    "inferbench report html all.json --to all.html",
]
"""In this order, in a git repository with settings, a baseline and three jobs' results."""

LIKE_README = "as tests/docs/test_readme.py has it"

PARSED = {
    r"^pytest .*\b(trt|trt-build|energy)\b": "takes a device, or 1 GB of compiler",
    r"^pytest .*(triton|serving|chaos)": "tests/plugin/test_serving_gate.py, tests/serving",
    r"^pytest .*--inferbench-against": "tests/plugin/test_against.py",
    r"^pytest .*(onnx_ops|conformance)": "tests/plugin/test_conformance.py, tests/onnx_cases",
    r"^pytest .*--inferbench-bisect": "tests/plugin/test_bisect_option.py",
    r"^pytest .*--inferbench-in-process": "tests/plugin/test_outcomes.py",
    r"^pytest -m speedup": "tests/plugin/test_against.py",
    r"^(taskset -c 2-5 )?pytest -[mk] .?(accuracy|latency|net|ort-cpu)": LIKE_README,
    r"^pytest --inferbench-(json|html|markdown)": LIKE_README,
    r"^inferbench (init|doctor|baselines|cache|report)": "its like is run here; tests/commands",
    r"^inferbench calibrate": "tests/commands/test_calibrate.py",
    r"^inferbench serve": "tests/commands/test_serve.py",
    r"^inferbench bisect": "tests/test_bisect.py",
    r"^inferbench models (build|fetch)": "tests/named",
    r"^locust": "tests/locustfiles/test_locustfiles.py",
    r"^tox -e jetson": "tests/packaging/test_tox_jetson.py",
}
"""What is not run as it stands -> why, or where its like is."""

NET = """
cache = ".cache"
lock = ".lock"
[models.net]
path = "net.onnx"
task = "tensors"
[matrix]
backends = ["ort-cpu"]
precisions = ["fp32"]
[environments.here]
backends = ["ort-cpu"]
"""


def commands(shown):
    """Every command of ours on pages that are not run whole, without comments and folders."""
    for page in shown.PAGES:
        if page.relative_to(shown.ROOT).as_posix() in PAGES_RUN:
            continue
        for block in shown.blocks(page):
            for line in shown.commands(block):
                command = line.split(" #")[0].strip().replace(".venv/bin/", "")
                if re.search(r"\b(pytest|inferbench|locust|tox) ", f"{command} ") and (
                    "pip install" not in command
                ):
                    yield block.where, command


def test_every_command_is_run_or_has_its_reason(shown):
    found = list(commands(shown))
    assert len(found) > 50
    here = {*RUN_HERE, "inferbench doctor"}
    reasons = {
        command: [why for p, why in PARSED.items() if re.search(p, command)] for _, command in found
    }
    silent = [f"{where}: {c}" for where, c in found if c not in here and not reasons[c]]
    assert silent == [], "run it, or say in PARSED where its like is run"
    assert {command for _, command in found} >= set(RUN_HERE), "no page shows it any more"
    for pattern, why in PARSED.items():
        assert any(re.search(pattern, command) for _, command in found), f"nobody shows {pattern}"
        for named in re.findall(r"tests/[\w/]+(?:\.py)?", why):
            assert (shown.ROOT / named).exists()
    for name in PAGES_RUN.values():
        assert (shown.ROOT / "tests/docs" / name).is_file()


@pytest.fixture
def project(tmp_path, save_net, monkeypatch, pytester):
    """A repository after a first session: settings, a baseline that is committed, results."""
    pytest.importorskip("onnxruntime")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.chdir(pytester.path)
    save_net(pytester.path / "net.onnx")
    (pytester.path / "inferbench.toml").write_text(NET)
    done = pytester.runpytest_subprocess("-m", "accuracy", "--inferbench-json", "cpu.json")
    assert done.ret == 0
    for job in ("gpu", "jetson"):
        shutil.copy("cpu.json", f"{job}.json")
    for command in (
        "init -q -b main",
        "add .",
        "-c user.name=a -c user.email=a@b commit -qm first",
    ):
        subprocess.run(["git", *command.split()], check=True)
    return pytester


def test_what_is_cheap_is_run(project, capsys):
    (project.path / "baselines").mkdir()
    for command in RUN_HERE:
        status = main(command.split()[1:])
        said = capsys.readouterr()
        assert status == 0, f"{command}: {said.out}{said.err}"
    assert json.loads((project.path / "all.json").read_text())["cells"]
    assert "<html" in (project.path / "all.html").read_text(encoding="utf-8")
