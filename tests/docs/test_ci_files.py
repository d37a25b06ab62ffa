"""The files under ci/: what GitHub and GitLab take, with commands that our parsers take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "ci/github").glob("*.yml"))
GITLAB = ROOT / "ci/gitlab.yml"
TEXT = (ROOT / "docs/ci.md").read_text(encoding="utf-8")

# What the files' own variables stand for, in their commands.
STANDS_FOR = {
    "$CELLS": "latency or memory",
    "$UPDATE": "--update-baselines",
    "$REASON": "why",
    "$INFERBENCH_REASON": "why",
}
OF_THE_SHELL = frozenset({"bash", "exit", "gh", "true"})


def read(path):
    yaml = pytest.importorskip("ruamel.yaml", reason="the extra dev brings it").YAML(typ="safe")
    return yaml.load(path.read_text(encoding="utf-8"))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def scripts(path):
    """Every line of shell in a file: of GitHub's steps, of GitLab's jobs."""
    document = read(path)
    if path == GITLAB:
        jobs = [job for job in document.values() if isinstance(job, dict)]
        listed = [job.get(key, []) for job in jobs for key in ("script", "after_script")]
        return [line for lines in listed for line in lines]
    runs = [step["run"] for step in steps(document) if "run" in step]
    return [line for run in runs for line in run.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("path", [*WORKFLOWS, GITLAB], ids=lambda path: path.name)
def test_the_schema_of_its_host_is_kept(path):
    pytest.importorskip("check_jsonschema", reason="the extra dev brings it")
    kind = ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    kind = kind if path == GITLAB else ["vendor.github-workflows"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *kind, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, GITLAB], ids=lambda path: path.name)
def test_every_command_is_one_that_its_program_takes(faults_of, path):
    wrong, gates = [], 0
    for line in scripts(path):
        known = line
        for name, value in STANDS_FOR.items():
            known = known.replace(name, value)
        program = known.split()[0] if known.split() else ""
        if re.match(r"\w+=", known) or program in OF_THE_SHELL:
            continue
        gates += "pytest" in known
        wrong += [f"{known}: {fault}" for fault in faults_of(known)]
    assert wrong == []
    assert gates
    for named in re.findall(r"\bbash (ci/\S+)", "\n".join(scripts(path))):
        assert (ROOT / named).is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_bounded_says_what_it_may_and_keeps_its_results(path):
    workflow = read(path)
    assert workflow["permissions"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"], name
        runs = "\n".join(step.get("run", "") for step in job["steps"])
        assert "${{" not in runs, "what people write must not become a part of a script"
        kept = [s for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
        for file in re.findall(r"--inferbench-(?:json|html) (\w+\.\w+)", runs):
            paths = "\n".join(step["with"]["path"] for step in kept)
            if "update-baselines" not in runs and "$UPDATE" not in runs:
                assert file in paths or f"{file.partition('.')[0]}.*" in paths
        assert all(step.get("if") == "always()" for step in kept)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_machine_of_ones_own_is_one_job_s_at_a_time_and_no_stranger_s(path):
    workflow = read(path)
    own = [j for j in workflow["jobs"].values() if "self-hosted" in j["runs-on"]]
    for job in own:
        assert workflow["concurrency"]["group"].startswith("device-")
        assert workflow["concurrency"]["cancel-in-progress"] is False
        assert "head.repo.full_name == github.repository" in job["if"]
    if not own:
        assert path.name == "inference-cpu.yml"


def test_jobs_of_gitlab_on_a_device_take_turns():
    for name, job in read(GITLAB).items():
        if isinstance(job, dict) and "tags" in job:
            assert job["resource_group"].startswith("device-"), name


def test_the_page_names_every_file_and_no_other():
    named = set(re.findall(r"`(ci/[\w/.-]+\.(?:yml|sh))`", TEXT))
    there = {p.relative_to(ROOT).as_posix() for p in (ROOT / "ci").rglob("*") if p.is_file()}
    assert named == there


TOOLS = {
    "sudo": 'exec "$@"',
    "nvpmodel": 'case $1 in -q) echo "NV Power Mode: $(cat mode)"; echo 0;; '
    '-m) read answer; echo "asked for $2, answered $answer" >> log; cp next mode;; esac',
    "jetson_clocks": 'echo "clocks $*" >> log; [ "$1" != --store ] || touch "$2"',
}


@pytest.fixture
def jetson(tmp_path):
    """Run ci/jetson.sh where scripts that note their calls stand in for a Jetson's programs."""
    for name, text in TOOLS.items():
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)

    def run(mode, after):
        (tmp_path / "mode").write_text(mode)
        (tmp_path / "next").write_text(after)
        (tmp_path / "log").write_text("")
        path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", ROOT / "ci/jetson.sh", "15W", "0", "0.1"],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "INFERBENCH_CLOCKS": str(tmp_path / "kept")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done, (tmp_path / "log").read_text().splitlines()

    return run


def test_a_jetson_in_its_mode_is_locked_and_soaked(jetson, tmp_path):
    done, log = jetson("15W", "15W")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in log] == [
        ["clocks", "--store"],
        ["clocks"],
        ["clocks", "--show"],
    ]
    assert "soaked" in done.stdout
    done, log = jetson("15W", "15W")
    assert "--store" not in " ".join(log), "what is locked is never kept as what it was"


def test_a_jetson_in_another_mode_is_set_and_checked(jetson):
    done, log = jetson("7W", "15W")
    assert done.returncode == 0, done.stderr
    assert log[0] == "asked for 0, answered NO", "no reboot in the middle of a job"
    done, log = jetson("7W", "7W")
    assert done.returncode == 1
    assert "the power mode is '7W' and not '15W'" in done.stderr
    assert not any("clocks" in line for line in log)
