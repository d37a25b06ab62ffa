"""What is known of environments: facts, reasons, and what may not differ from what was declared."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_inferbench.environments import (
    check_hardware,
    environment_facts,
    facts_sent,
    misdeclared,
    send_facts,
)
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.matrix import ModelAxes, build_matrix
from pytest_inferbench.settings.schema import EnvironmentSettings, Settings

HERE = Hardware("cpu-here-2c", ("nvidia-here",), {"kernel": "1"})


def facts_of(**environment):
    settings = Settings(
        environments={"other": EnvironmentSettings(backends=("ort-cpu",), **environment)}
    )
    default, other = environment_facts(settings, HERE, ["pytest", "no-such-package"])
    assert (default.name, default.python) == ("default", sys.executable)
    return default, other


def test_another_interpreter_of_this_host_shares_its_hardware():
    default, other = facts_of(python=sys.executable)
    assert other.distributions == default.distributions
    assert {"pytest", "numpy"} <= other.distributions.keys()
    assert (other.cpu, other.gpus, other.host) == ("cpu-here-2c", ("nvidia-here",), None)
    assert other.facts["kernel"] == "1"


def test_what_an_interpreter_sees_is_what_its_workers_will(tmp_path):
    metadata = tmp_path / "no_such_package-9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: no-such-package\nVersion: 9\n")
    _, other = facts_of(python=sys.executable, env={"PYTHONPATH": str(tmp_path)})
    assert other.distributions["no-such-package"] == "9"


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false", "/bin/true"])
def test_what_is_no_interpreter_here_is_a_fault_of_the_settings(python):
    default, other = facts_of(python=python)
    assert other.unreachable.startswith(f"[IB-203] environments.other.python: {python} did not")
    assert (other.misdeclared, other.distributions) == (True, {})
    assert (other.cpu, other.gpus) == (default.cpu, default.gpus), "the machine is this one"
    known = {facts.name: facts for facts in (default, other)}
    cells = build_matrix([ModelAxes("net", ("ort-cpu", "openvino"), ("fp32",))], [default, other])
    there, here = cells
    assert other.unreachable in there.cannot_run
    assert misdeclared(known, [cell.environment for cell in cells]) == other.unreachable
    assert misdeclared(known, [here.environment]) == ""


def test_an_interpreter_without_numpy_can_run_nothing(tmp_path):
    command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")]
    subprocess.run(command, check=True)
    _, other = facts_of(python=str(tmp_path / "venv/bin/python"), env={"PYTHONPATH": ""})
    assert other.unreachable == "environment other has no numpy, which every worker needs"


def test_hosts_are_asked_beside_each_other(tmp_path, monkeypatch):
    """Three hosts that answer only once all of them have been asked."""
    script = tmp_path / "ssh"
    script.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/asked.$$\n"
        f"i=0; while [ $(ls {tmp_path} | grep -c asked) -lt 3 ] && [ $i -lt 200 ]; do"
        " sleep 0.1; i=$((i+1)); done\necho all of us >&2; exit 255\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    settings = Settings(
        environments={
            name: EnvironmentSettings(backends=("ort-cpu",), ssh=name, hardware="cpu-there-4c")
            for name in ("a", "b", "c")
        }
    )
    _, *others = environment_facts(settings, HERE, ["pytest"])
    for facts in others:
        assert facts.unreachable.startswith(f"[IB-203] environment {facts.name} did not answer:")
        assert "all of us" in facts.unreachable
        assert (facts.distributions, facts.gpus, facts.facts) == ({}, (), {})
        assert not facts.misdeclared


def test_facts_reach_the_processes_of_a_parallel_session_unchanged():
    environments = facts_of(python=sys.executable)
    parcel = {}
    send_facts(environments, parcel)
    assert facts_sent(parcel) == environments
    plain = json.loads(json.dumps(parcel))
    assert [facts["name"] for facts in plain["inferbench_environments"]] == ["default", "other"]
    assert facts_sent({}) == ()


def test_declared_hardware_must_be_there():
    check_hardware("orin", None, ["cpu-a"], None)
    check_hardware("orin", "nvidia-b", ["cpu-a", "nvidia-b"], "user@orin")
    with pytest.raises(InferbenchError, match="user@orin is cpu-a, nvidia-b") as caught:
        check_hardware("orin", "nvidia-c", ["cpu-a", "nvidia-b"], "user@orin")
    assert caught.value.code == "IB-208"
