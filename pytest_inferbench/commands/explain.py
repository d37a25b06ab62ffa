"""`inferbench explain`: what a code means, and what to do about it."""

from __future__ import annotations

import argparse
import json

from pytest_inferbench.commands.arguments import Subparsers, add_json, add_verb


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "explain",
        "what a code means, and what to do about it",
        ["inferbench explain IB-603", "inferbench explain 603 701"],
    )
    parser.add_argument("codes", nargs="+", metavar="CODE", help="as messages begin: IB-603")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from pytest_inferbench.report.explanations import explained

    texts = {code: explained(code) for code in options.codes}
    if options.json:
        print(json.dumps(texts, indent=1))
    else:
        print("\n".join(texts.values()), end="")
    return 0
