"""Nothing may be left of a worker: its processes carry a mark, which is looked for afterwards."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import psutil
import pytest

MARK = "INFERBENCH_TEST_MARK"


def marked(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def survivors(mark: str, within_s: float) -> list[int]:
    deadline = time.monotonic() + within_s
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture
def mark(monkeypatch):
    """A mark that every process of this test inherits; none may be left at its end."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    yield value
    assert not survivors(value, within_s=5.0)


@pytest.fixture
def left_of():
    """Return the marked processes that are still there after some seconds."""
    return survivors


@pytest.fixture(autouse=True)
def _adversaries_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
