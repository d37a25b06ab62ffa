"""Progress: a line that is redrawn on a terminal, plain ones elsewhere, from xdist's controller."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

LONG = """
    import time
    import pytest

    @pytest.mark.parametrize("nth", [1, 2])
    def test_long(backend_worker, nth):
        print("captured words")
        progress = backend_worker.waiting("thinking")
        for elapsed_s in range(12):
            progress(float(elapsed_s), f"{elapsed_s} of 12")
            time.sleep(0.15 if elapsed_s in (4, 8) else 0.0)
        backend_worker.gate.tell("something happened")
"""


@pytest.fixture
def long(project):
    project.makepyfile(test_own=LONG)
    project.makeconftest("from pytest_inferbench import telling\ntelling._REDRAW_S = 0.1\n")
    return project


def on_a_terminal(folder, *arguments):
    """Run pytest on a terminal of its own; return all that was written to it."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    for name in ("CI", "NO_COLOR", "PY_COLORS"):
        env.pop(name, None)
    command = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    ) as process:
        os.close(theirs)
        written, deadline = b"", time.monotonic() + 120
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                try:
                    chunk = os.read(ours, 65536)
                except OSError:
                    break
                written += chunk
        process.wait(10)
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


class Screen:
    """What stands on a terminal after the few sequences that are written to it."""

    def __init__(self, text):
        self.rows, self.row, self.column = [""], 0, 0
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]", text):
            self._take(part)

    def _take(self, part):
        if part == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        elif part == "\r":
            self.column = 0
        elif not part.startswith("\x1b"):
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + part + line[self.column + 1 :]
            self.column += 1
        elif part.endswith("K"):
            self.rows[self.row] = ""
        elif part.endswith("A"):
            self.row -= int(part[2:-1])
        elif part.endswith("G"):
            self.column = int(part[2:-1]) - 1


def test_on_a_terminal_a_line_moves_and_is_taken_back(long):
    written = on_a_terminal(long.path, "test_own.py", "-p", "no:sugar")
    assert "thinking (2 s, 2 of 12)" in written
    assert "thinking (5 s, 5 of 12)" in written
    assert "thinking (9 s, 9 of 12)" in written
    rows = Screen(written).rows
    assert not any("thinking" in row for row in rows), "what moved on still stands"
    assert any(re.match(r"test_own.py (\.\s*)?$", row) for row in rows), rows
    assert sum("something happened" in row for row in rows) >= 2
    assert not any("captured words" in row for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-v", "-s", "-q"])
def test_beside_what_else_is_written(long, option):
    written = on_a_terminal(long.path, "test_own.py", "-p", "no:sugar", option)
    rows = Screen(written).rows
    said = [row for row in rows if "thinking" in row]
    if option == "-v":
        assert "thinking (2 s, 2 of 12)" in written
        assert not said
        assert sum(bool(re.search(r"test_long\[.*PASSED", row)) for row in rows) >= 1
    elif option == "-s":
        assert sum("captured words" in row for row in rows) == 2
        assert len(said) == 1, "one plain line in ten seconds"
    else:
        assert "thinking" not in written


def test_without_a_terminal_it_is_one_line_in_ten_seconds(long, gate, said):
    text = said(gate("test_own.py", "-v"))
    assert len(re.findall("thinking", text)) == 1
    assert "cell 1 of 1: net on ort-cpu at fp32" in text
    assert "\x1b" not in text
    assert "thinking" not in said(gate("test_own.py", "-q"))


def test_under_xdist_the_controller_says_it(long, gate, said):
    pytest.importorskip("xdist")
    result = gate("test_own.py", "-n", "1")
    assert result.ret == 0
    text = said(result)
    assert len(re.findall("thinking", text)) == 1
    assert text.count("something happened") >= 2
