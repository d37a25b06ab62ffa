"""`inferbench explain`: what a code means, and what to do about it."""

from __future__ import annotations

import argparse

from pytest_inferbench.commands.arguments import Subparsers, add_verb


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "explain",
        "what a code means, and what to do about it",
        ["inferbench explain IB-603", "inferbench explain 603 701"],
    )
    parser.add_argument("codes", nargs="+", metavar="CODE", help="as messages begin: IB-603")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from pytest_inferbench.report.explanations import explained

    print("\n".join(explained(code) for code in options.codes), end="")
    return 0
