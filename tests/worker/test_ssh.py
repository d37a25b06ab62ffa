"""Another machine: everything but the network, through a stand-in for the `ssh` program."""

from __future__ import annotations

import os
import stat
import sys

import numpy as np
import pytest

from pytest_inferbench.worker.client import Environment, Limits, WorkerError, launch

# As sshd does, it hands the command, one string, to the user's shell, in the home folder.
SSH = """#!/bin/sh
for last; do :; done
cd /
{before}
exec sh -c "$last"
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    def install(before: str = "") -> Environment:
        path = tmp_path / "ssh"
        path.write_text(SSH.format(before=before))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return Environment("orin", python=sys.executable, ssh="user@orin")

    return install


def test_a_worker_over_ssh_works_and_its_crash_leaves_nothing(mark, left_of, ssh):
    modules = ["adversaries:Adversary"]
    with launch(ssh(), modules=modules) as worker:
        fields = {"backend_module": modules[0], "artifact": ""}
        worker.call("open", {**fields, "options": {"deed": "grandchildren_then_hang"}})
        with pytest.raises(WorkerError) as caught:
            worker.call("infer", {}, {"x": np.ones((1, 1), np.float32)}, timeout_s=1.0)
    assert caught.value.code == "IB-302"
    assert not left_of(mark, 0.0)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("echo 'Welcome to Ubuntu'", "beginning 'Welcome to Ubuntu'"),
        ("echo 'Permission denied (publickey).' >&2; exit 255", "Permission denied"),
        ("exit 3", "exit code 3"),
    ],
)
def test_what_breaks_a_connection_is_named(mark, ssh, before, says):
    with pytest.raises(WorkerError, match=says) as caught:
        launch(ssh(before), Limits(open_timeout_s=10))
    assert caught.value.code == "IB-305"
    assert "orin" in caught.value.message
    assert "user@orin" in caught.value.message
