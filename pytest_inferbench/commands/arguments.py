"""What every verb's arguments have in common: help that shows examples and exit statuses.

Takes argparse's subparsers; gives a parser. Knows no verb.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` returns: a type that only type checkers may subscript."""

DONE = "0  done"
WRONG = "1  something asked about is wrong; it is said on stderr"
BAD_ARGUMENTS = "2  bad arguments"


def add_verb(
    to: Subparsers,
    name: str,
    what: str,
    examples: Sequence[str],
    statuses: Sequence[str] = (DONE, WRONG, BAD_ARGUMENTS),
) -> argparse.ArgumentParser:
    """Add a verb's parser.

    Args:
        to: Where it belongs.
        name: The verb.
        what: What it does, in a line.
        examples: Whole commands; the first is the usual one.
        statuses: What each exit status means.
    """
    shown = "\n".join(f"example: {example}" for example in examples)
    listed = "\n".join(f"  {status}" for status in statuses)
    return to.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"{shown}\n\nexit status:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--settings`."""
    parser.add_argument("--settings", type=Path, help="settings file (default: the one here)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
