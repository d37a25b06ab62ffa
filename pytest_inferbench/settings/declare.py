"""Writes an environment's hardware into the text of settings: one line, all else as it was. Pure.

Takes TOML as the user wrote it; gives it with one value set. What cannot be done by changing one
line is not done: the text is read before and after, and nothing else may have changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from pytest_inferbench.settings.find import parse

_HEADER = re.compile(r"\s*\[(?!\[)(?P<key>.+?)\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"\s*\[")
_KEY = "hardware"
_ASSIGNMENT = re.compile(
    r"""(?P<before>\s*(?:hardware|"hardware"|'hardware')\s*=\s*)(?P<value>"[^"]*"|'[^']*')"""
)


class NotByOneLineError(Exception):
    """The text is of a form in which no single line says it."""


def with_hardware(text: str, table: Sequence[str], hardware: str) -> str:
    """Return the text with `hardware` of a table set.

    Args:
        text: TOML.
        table: The keys that lead to the table, such as `environments`, `orin`.
        hardware: The id, which needs no escaping.

    Raises:
        NotByOneLineError: No header names the table by itself, or the result would not be read as
            the same but for this value.
    """
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if _names(line, table)), None)
    if start is None:
        raise NotByOneLineError(f"no line is [{'.'.join(table)}]")
    end = next((i for i in range(start + 1, len(lines)) if _ANY_HEADER.match(lines[i])), len(lines))
    for i in range(start + 1, end):
        found = _ASSIGNMENT.match(lines[i])
        if found:
            lines[i] = f'{found["before"]}"{hardware}"{lines[i][found.end() :]}'
            break
    else:
        newline = "\r\n" if lines[start].endswith("\r\n") else "\n"
        if not lines[start].endswith("\n"):
            lines[start] += newline
        lines.insert(start + 1, f'{_KEY} = "{hardware}"{newline}')
    changed = "".join(lines)
    _check(text, changed, table, hardware)
    return changed


def _names(line: str, table: Sequence[str]) -> bool:
    header = _HEADER.match(line)
    if header is None:
        return False
    try:
        data: Any = parse(f"[{header['key']}]".encode())
    except ValueError:
        return False
    for key in table:
        if not isinstance(data, dict) or list(data) != [key]:
            return False
        data = data[key]
    return bool(data == {})


def _check(before: str, after: str, table: Sequence[str], hardware: str) -> None:
    """Whether the text says the same as before but for the one value."""
    try:
        expected, said = copy.deepcopy(parse(before.encode())), parse(after.encode())
    except ValueError as error:
        raise NotByOneLineError(f"it could not be read again: {error}") from error
    inner: Any = expected
    for key in table:
        inner = inner[key]
    inner[_KEY] = hardware
    if said != expected:
        raise NotByOneLineError("it would not say the same as before")
