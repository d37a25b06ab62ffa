"""The hooks that others may implement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferbench.backends.catalog import BackendInfo
    from pytest_inferbench.tasks import Task


@pytest.hookspec
def pytest_inferbench_backends(config: pytest.Config) -> Iterable[BackendInfo]:  # type: ignore[empty-body]
    """Return backends of a project's own, for its conftest: see docs/writing-a-backend.md."""


@pytest.hookspec
def pytest_inferbench_tasks(config: pytest.Config) -> Iterable[type[Task]]:  # type: ignore[empty-body]
    """Return tasks of a project's own, for its conftest: see docs/tasks.md."""
