"""A program that builds: progress is told, failure is named, and nothing is left running."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.programs import Program


def run(source: str, limit_s: float = 60.0, python: str = sys.executable) -> list[str]:
    said: list[str] = []
    program = Program("inferbench:x-small", "export", python, ("torch",), said.append)
    program.run(["-c", source], limit_s)
    return said


def test_progress_is_told_and_other_lines_are_not():
    said = run("print('progress: one'); print('noise'); print('progress: two')")
    assert said == ["inferbench:x-small: one", "inferbench:x-small: two"]


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        (
            "print('missing torch onnx'); raise SystemExit(3)",
            "IB-471",
            "no torch, onnx",
        ),
        ("raise ValueError('no such layer')", "IB-472", "ValueError: no such layer"),
        ("raise SystemExit(7)", "IB-472", r"exit status 7.*said nothing"),
        ("import os; os.abort()", "IB-472", "signal 6"),
    ],
)
def test_what_went_wrong_is_named(source, code, message):
    with pytest.raises(InferbenchError, match=message) as raised:
        run(source)
    assert raised.value.code == code


def test_a_python_that_there_is_not_is_named():
    with pytest.raises(InferbenchError, match=r"IB-474.*/no/such/python"):
        run("", python="/no/such/python")


def test_what_takes_too_long_is_ended_with_its_children(tmp_path):
    noted = tmp_path / "child"
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(noted)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(InferbenchError, match=r"IB-473.*within 4 s"):
        run(source, limit_s=4.0)
    child = int(Path(noted).read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the program's child lives on"
        time.sleep(0.05)
