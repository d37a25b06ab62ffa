"""HTML and SVG as text that is safe by construction: takes names and values, gives markup. Pure.

Whatever is no `Markup` is escaped, and characters that would turn or hide text are spelt
out. Nothing else in the report writes a `<`.
"""

from __future__ import annotations

import html as _html
import math
import re
from functools import cache

from pytest_inferbench.report.escaping import visible

_SPECIAL = re.compile("[&<>\"']")

_VOID = frozenset({"meta", "br", "input", "hr", "col", "link"})
_EMPTY = frozenset({"line", "circle", "rect", "path", "polyline", "polygon"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> str:
    """Return a value as HTML that shows it and does nothing else."""
    if isinstance(value, Markup):
        return value
    text = visible(str(value))
    return text if _SPECIAL.search(text) is None else _html.escape(text, quote=True)


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: The element's name.
        children: What is in it: markup as it is, anything else escaped; None is left out.
        attributes: Its attributes: `class_` for `class`, other underscores are hyphens; True stands
            for one without a value, None and False for none.
    """
    head = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = number(value) if isinstance(value, float) else value
        head += f" {_named(key)}" if value is True else f' {_named(key)}="{escaped(written)}"'
    if name in _VOID:
        return Markup(f"<{head}>")
    if name in _EMPTY and not children:
        return Markup(f"<{head}/>")
    return Markup(f"<{head}>{join(*children)}</{name}>")


def join(*parts: object) -> Markup:
    """Return parts one behind the other; None is left out."""
    return Markup("".join([escaped(part) for part in parts if part is not None]))


def number(value: float) -> str:
    """Return a coordinate, short."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no coordinate")
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


@cache
def _named(key: str) -> str:
    name = key.rstrip("_").replace("_", "-")
    return "viewBox" if name == "viewbox" else name
