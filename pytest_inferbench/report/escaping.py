"""Text from anywhere as Markdown that shows it and nothing else. Pure.

Names of models, reasons and versions are other people's: what they hold must not become a link, a
mention, a tag, a column or a line of its own.
"""

from __future__ import annotations

import re
import unicodedata

# What is special wherever it stands; an underscore inside a word is not, nor is a dash in a line.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_AT_THE_START = re.compile(r"^(\d*)([#+.)=-])(?=[#=-]*(?:\s|$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# GitHub finds people, issues and addresses in text that is already rendered: a comment parts them.
_LIVE = re.compile(
    r"(?<![0-9A-Za-z])@(?=\w)|(?<=#)(?=\d)|(?<=GH-)(?=\d)|(?<=:)(?=//)|(?<=www)(?=\.)"
    r"|:(?=(?:[\w+-]*[a-z][\w+-]*|[+-]1|100|1234):)|(?<=[0-9A-Za-z._+-])@(?=[\w-]+\.)",
    re.I,
)
_APART = "<!-- -->"

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that are not to be seen, or turn what is around them."""


def escaped(text: str, most: int = 400) -> str:
    """Return text as one line of Markdown, also inside a table.

    Args:
        text: Anything.
        most: Characters of it that are shown; what is longer ends with "...".
    """
    shown = one_line(text)
    if len(shown) > most:
        shown = f"{shown[:most].rstrip()}..."
    safe = "".join(_ENTITIES.get(each, each) for each in shown)
    safe = _SPECIAL.sub(lambda found: f"\\{found[0]}", safe)
    safe = _AT_THE_START.sub(r"\1\\\2", safe)
    return _LIVE.sub(lambda found: f"{found[0]}{_APART}", safe)


def fenced(text: str, most: int = 4000) -> str:
    """Return text as a block that is shown as it is, however many backticks it holds."""
    lines = [visible(line).rstrip() for line in text.splitlines()]
    shown = "\n".join(lines)
    if len(shown) > most:
        shown = f"{shown[:most].rstrip()}\n..."
    longest = max((len(each) for each in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def one_line(text: str) -> str:
    """Return text as one line in which nothing is hidden."""
    return " ".join(visible(text).split())


def visible(text: str) -> str:
    """Return text without characters that hide or turn others: they are spelt out."""
    if text.isprintable():
        return text
    return "".join(
        each
        if each in "\t\n\r " or unicodedata.category(each) not in _HIDDEN
        else f"\\u{ord(each):04x}"
        for each in text
    )
