"""Checks a name that the user gives something: takes it, notes why it cannot be one. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from pytest_inferbench.settings.convert import Problems
from pytest_inferbench.settings.spelling import dotted

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_name(table: str, name: str, reserved: Collection[str], problems: Problems) -> None:
    """Note a name that cannot stand in ids and file names, or means something else.

    Args:
        table: The key of the table that it stands in.
        name: The name.
        reserved: Backends and precisions that it would be mistaken for.
        problems: Where to note it.
    """
    if not _NAME.fullmatch(name):
        problems.add(
            f"{table}.{dotted(name)}",
            "names go into test ids and file names: use letters, digits, '_', '-' and '.',"
            " and begin with none of the last two",
        )
    elif name in reserved:
        problems.add(f"{table}.{dotted(name)}", f'"{name}" is a backend or a precision; rename it')
