"""The small study that `tox -e triton` runs has settings that load."""

from __future__ import annotations

from pathlib import Path

from pytest_inferbench.settings import load

FOLDER = Path(__file__).parents[2] / "fixtures/serving"


def test_it_loads_with_the_built_in_model():
    settings = load(FOLDER)
    assert settings.models == {}
    assert list(settings.serving.variants) == ["plain", "over-grpc", "batched", "two"]
    assert settings.serving.objectives
