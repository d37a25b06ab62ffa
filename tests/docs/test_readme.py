"""Every command of the README runs, in the order it is read, in a project made of its own files."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
DETECTOR = ROOT / "fixtures" / "detector"

# Quick and deaf to neighbours; appended to the README's own settings.
QUICK = """
[latency]
runs = 3
seconds = "150 ms"
warmup_ceiling = "300 ms"
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


BLOCKS = [block.splitlines() for block in blocks("sh")]
COMMANDS = [line for lines in BLOCKS for line in lines]
SET_UP = [command for command in COMMANDS if "pip install" in command]
(FRESH,) = (lines for lines in BLOCKS if lines[0].startswith("inferbench init"))
"""What a reader runs first, in a folder with an ONNX file and nothing else."""
(BROKEN,) = "".join(blocks('sh title="fails"')).splitlines()
USE = [command for command in COMMANDS if command not in (*SET_UP, *FRESH)]


@pytest.fixture
def project(tmp_path):
    """What a reader has: a detector, its data, and the README's settings and test."""
    spec = importlib.util.spec_from_file_location("readme_scenes", DETECTOR / "scenes.py")
    scenes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scenes)
    scenes.write_dataset(tmp_path / "data/val", "val", 16)
    scenes.write_dataset(tmp_path / "data/images", "calibration", 16)
    (tmp_path / "data/images/images").rename(tmp_path / "data/calib")
    (tmp_path / "models").mkdir()
    shutil.copy(DETECTOR / "detector.onnx", tmp_path / "models")
    (toml,) = blocks("toml")
    folders = 'cache = ".cache"\nlock = ".lock"\n'
    # the README's matrix, without what this version's only other precision would cost
    toml = toml.rstrip() + '\nprecisions = ["fp32", "int8"]\n'
    (tmp_path / "inferbench.toml").write_text(folders + toml + QUICK)
    (python,) = blocks("python")
    (tmp_path / "test_detector.py").write_text(python)
    return tmp_path


@pytest.mark.slow
def test_the_first_commands_in_a_folder_with_one_model(tmp_path, run):
    shutil.copy(DETECTOR / "detector.onnx", tmp_path)
    for command in FRESH:
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    done = run(BROKEN, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"\[IB-\d{3}\].* regressed", done.stdout), done.stdout
    assert "what to do: inferbench explain IB-" in done.stdout


@pytest.mark.slow
def test_every_command_of_use_succeeds(project, run):
    for command in USE:
        done = run(command, project)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (project / "gate.xml").is_file()
    assert "<table" in (project / "gate.html").read_text(encoding="utf-8")
    assert json.loads((project / "gate.json").read_text())["cells"]
    (baseline,) = project.glob("baselines/*/detector.json")
    cells = json.loads(baseline.read_text())["cells"]
    reasons = {name: [s["reason"] for s in cell["sessions"]] for name, cell in cells.items()}
    assert reasons == {"ort-cpu fp32": ["first session"], "ort-cpu int8": ["new calibration"]}


def test_the_commands_are_found():
    assert len(SET_UP) == 2
    assert len(USE) >= 10
    assert len(FRESH) == 3
    assert all(command.startswith(("pytest", "inferbench ")) for command in USE)


def test_ci_runs_the_readme_s_set_up_commands():
    """The first word for word, in what it was cloned into; the second's tests in its own folder."""
    ci = (ROOT / ".ci/run").read_text()
    assert f"\n{SET_UP[0]}\n" in ci
    (tests,) = re.findall(r"\.venv/bin/(pytest tests.*)", SET_UP[1])
    assert f"$bin/{tests}" in ci


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
