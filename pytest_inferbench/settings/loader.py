"""Reads the settings: takes a folder or a file, gives `Settings` or one error listing every fault.

Knows files, neither pytest, hardware nor runtimes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.checks import check
from pytest_inferbench.settings.convert import Converter, Problems
from pytest_inferbench.settings.find import PYPROJECT, find, parse, tool_table
from pytest_inferbench.settings.schema import Settings
from pytest_inferbench.settings.task_kinds import BUILT_IN, TaskKind


def load(
    start: Path | None,
    known_backends: Collection[str] = CATALOG.keys(),
    tasks: Mapping[str, TaskKind] = BUILT_IN,
    *,
    text: bytes | None = None,
) -> Settings:
    """Load the settings of a folder (see `find`) or of an explicit file.

    Args:
        start: The folder or file; without one, or without settings there, the defaults hold.
        known_backends: The backends that settings may name.
        tasks: The tasks that they may name, by name.
        text: What the file is taken to hold, in place of what it does.

    Raises:
        InferbenchError: Unreadable (IB-101), not TOML (IB-102), or wrong (IB-103): every fault
            is listed with its key.
    """
    if start is None:
        return Settings()
    start = start.absolute()
    file = find(start)
    if file is None:
        if not start.is_dir():
            raise InferbenchError("IB-101", f"no settings file or folder: {start}")
        return Settings(baselines=start / Settings().baselines)
    problems = Problems()
    data = {"baselines": "baselines", **_read(file, text)}
    settings = Converter(file.parent, problems, tasks).table(Settings, data)
    if settings is not None:
        registered = {metric.name: metric for kind in tasks.values() for metric in kind.metrics}
        settings = msgspec.structs.replace(settings, registered_metrics=registered)
        check(settings, known_backends, tasks, problems)
    lines = problems.lines()
    if settings is None or lines:
        count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
        listed = "".join(f"\n    {line}" for line in lines)
        raise InferbenchError(
            "IB-103", f"{file}: {count} in the settings:{listed}", "docs/settings.md has every key."
        )
    return msgspec.structs.replace(settings, source=file)


def _read(file: Path, text: bytes | None = None) -> dict[str, Any]:
    try:
        data = parse(file.read_bytes() if text is None else text)
    except OSError as error:
        raise InferbenchError("IB-101", f"{file} cannot be read: {error}") from error
    except RecursionError as error:
        raise InferbenchError("IB-102", f"{file}: nested too deeply") from error
    except ValueError as error:
        raise InferbenchError("IB-102", f"{file} is not TOML: {error}") from error
    if file.name != PYPROJECT:
        return data
    table = tool_table(data)
    if not isinstance(table, dict):
        raise InferbenchError("IB-101", f"{file} has no table [tool.inferbench]")
    return table
