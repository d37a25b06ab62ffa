"""Fills in what each environment's machine is: takes a project, changes its settings file.

Asks every environment once, and writes one line each (`settings/declare.py`), atomically. One that
does not answer, or whose device the machine leaves open, is left as it is and said.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.replacing import replacing
from pytest_inferbench.settings.find import PYPROJECT, find, parse, tool_table

if TYPE_CHECKING:
    from pytest_inferbench.backends.catalog import BackendInfo
    from pytest_inferbench.matrix import EnvironmentFacts
    from pytest_inferbench.settings.schema import EnvironmentSettings

_UNKNOWN = "cpu-unknown"
"""Stands for what is still to be found out where settings must say something."""


def declare(folder: Path, settings_file: Path | None = None) -> list[str]:
    """Write what each environment's machine is; return a line for each.

    Raises:
        InferbenchError: There are no settings (IB-101), they are wrong, or cannot be written
            (IB-927).
    """
    file = find((settings_file or folder).absolute())
    if file is None:
        raise InferbenchError(
            "IB-101",
            f"there are no settings in {folder} to write into",
            "`inferbench init` writes the first ones.",
        )
    before = text = _read(file)
    lines = []
    # what is looked up with a placeholder is written without one
    for name, (facts, declared, ids) in _found(file, _with_placeholders(text, file)).items():
        key = f"environments.{name}.hardware"
        if facts.unreachable:
            lines.append(f"{key} is left as it is: {facts.unreachable}")
        elif len(ids) != 1:
            lines.append(f"{key} is left as it is: {_which(ids)}")
        elif declared == ids[0]:
            lines.append(f"{key} is {ids[0]} already")
        else:
            text = _set(file, text, name, ids[0])
            was = "" if declared in (None, _UNKNOWN) else f" (it was {declared})"
            lines.append(f"{key} = {ids[0]}{was}")
    if text != before:
        _write(file, text)
    return lines or ["there is no [environments.NAME] to fill in"]


def _which(ids: tuple[str, ...]) -> str:
    if not ids:
        return "its machine has no device for its backends"
    return f"its machine has several devices, say which: {', '.join(ids)}"


def _found(
    file: Path, text: str
) -> dict[str, tuple[EnvironmentFacts, str | None, tuple[str, ...]]]:
    """Return each declared environment's facts, what it is declared to be, and what it may be."""
    from pytest_inferbench.backends.catalog import CATALOG
    from pytest_inferbench.backends.registry import catalog_of, installed_backends
    from pytest_inferbench.environments import environment_facts
    from pytest_inferbench.hardware import detect
    from pytest_inferbench.settings import load
    from pytest_inferbench.settings.serving import with_variants
    from pytest_inferbench.tasks.registry import installed_tasks, kinds_of

    others = installed_backends()
    settings = with_variants(
        load(file, {**CATALOG, **others}, kinds_of(installed_tasks()), text=text.encode())
    )
    catalog = catalog_of(others, settings.backends)
    asked = environment_facts(settings, detect(), ["numpy"])
    return {
        facts.name: (
            facts,
            facts.hardware,
            _ids(settings.environments[facts.name], facts, catalog),
        )
        for facts in asked
        if facts.name in settings.environments
    }


def _ids(
    declared: EnvironmentSettings, facts: EnvironmentFacts, catalog: Mapping[str, BackendInfo]
) -> tuple[str, ...]:
    """Return which ids an environment's backends could be meant to run on."""
    devices = {device for name in declared.backends for device in catalog[name].devices}
    if "nvidia" in devices and facts.gpus:
        return facts.gpus
    return (facts.cpu,) if devices & {"cpu"} else ()


def _with_placeholders(text: str, file: Path) -> str:
    """Return the text with a placeholder where another host's hardware must be said and is not."""
    for name, table in _environments(text, file).items():
        if isinstance(table, dict) and "ssh" in table and "hardware" not in table:
            text = _set(file, text, name, _UNKNOWN)
    return text


def _environments(text: str, file: Path) -> dict[str, Any]:
    try:
        data: Any = parse(text.encode())
    except (ValueError, RecursionError):
        return {}  # the loader says what is wrong
    data = tool_table(data) if file.name == PYPROJECT else data
    tables = data.get("environments") if isinstance(data, dict) else None
    return tables if isinstance(tables, dict) else {}


def _set(file: Path, text: str, name: str, hardware: str) -> str:
    from pytest_inferbench.settings.declare import NotByOneLineError, with_hardware

    above = ("tool", "inferbench") if file.name == PYPROJECT else ()
    try:
        return with_hardware(text, (*above, "environments", name), hardware)
    except NotByOneLineError as error:
        raise InferbenchError(
            "IB-927",
            f"{file} was not changed: environments.{name}.hardware cannot be set by one line"
            f" ({error})",
            f'Write it yourself: hardware = "{hardware}".'
            if hardware != _UNKNOWN
            else "Give the environment a table of its own, [environments.NAME].",
        ) from error


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:  # line ends stay as they are
            return stream.read()
    except (OSError, ValueError) as error:
        raise InferbenchError("IB-101", f"{file} cannot be read: {error}") from error


def _write(file: Path, text: str) -> None:
    try:
        with replacing(file.resolve()) as temporary:  # a link stays one
            temporary.write_bytes(text.encode())
            shutil.copymode(file, temporary)
    except OSError as error:
        raise InferbenchError(
            "IB-927", f"{file} was not changed: {error}", "Free space or fix its permissions."
        ) from error
