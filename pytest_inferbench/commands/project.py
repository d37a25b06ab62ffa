"""The settings of the project that a command is run in, wherever in it: no environment is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_inferbench.settings.schema import Settings


def project_settings(start: Path, file: Path | None = None) -> Settings:
    """Return the settings that hold in a folder, with at least one model.

    Args:
        start: The folder; the nearest one above it that has settings, or baselines, counts.
        file: An explicit settings file, which goes first.

    Raises:
        InferbenchError: The settings are wrong.
    """
    from pytest_inferbench.backends.catalog import CATALOG
    from pytest_inferbench.backends.registry import installed_backends
    from pytest_inferbench.builtin import with_builtin_models
    from pytest_inferbench.settings import load

    known = {**CATALOG, **installed_backends()}
    return with_builtin_models(load(file or project_folder(start), known))


def project_folder(start: Path) -> Path:
    """Return the nearest folder, from one upwards, that has settings or baselines.

    The search ends at the top of a repository, so that no other project is meant by accident.
    """
    from pytest_inferbench.settings.find import find
    from pytest_inferbench.settings.schema import Settings

    for folder in (start, *start.parents):
        if find(folder) is not None or (folder / Settings().baselines).is_dir():
            return folder
        if (folder / ".git").exists():
            break
    return start
