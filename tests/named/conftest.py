"""A Python that can export, where there is one: this one, or the one that the variable names."""

from __future__ import annotations

import subprocess

import pytest

from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.named.exporting import export_python


def lacks(*packages: str) -> str:
    """Return what the Python that exports cannot find, empty if nothing."""
    script = f"import importlib.util as u; print(*[p for p in {packages!r} if not u.find_spec(p)])"
    done = subprocess.run(
        [export_python(), "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def exports_torch() -> None:
    if missing := lacks("torch", "onnx"):
        pytest.skip(f"{export_python()} has no {missing}")


@pytest.fixture(scope="session")
def exports_transformers(exports_torch) -> None:
    if missing := lacks("transformers"):
        pytest.skip(f"{export_python()} has no {missing}")


@pytest.fixture
def cache(tmp_path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")
