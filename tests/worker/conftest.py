"""Workers are given adversaries: modules beside these tests that crash, hang and flood."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _adversaries_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
