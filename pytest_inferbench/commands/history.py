"""`inferbench report history DIR`: each cell over the results of past sessions.

Reads, prints, writes; what is followed and found is in `report/history.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.commands.arguments import BAD_ARGUMENTS, Subparsers, add_json, add_verb
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.report.history import History

_STATUSES = (
    "0  done",
    "1  a file could not be read and is left out, or none could; said on stderr",
    BAD_ARGUMENTS,
)


def add(below: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        below,
        "history",
        "each cell over the results of past sessions, with change points",
        [
            "inferbench report history results",
            "inferbench report history results --to history.html",
            "inferbench report history results --otava .venvs/otava/bin/python",
        ],
        _STATUSES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="its *.json, in folders below too")
    parser.add_argument("--to", type=Path, metavar="PATH", help="write it there, as one HTML page")
    parser.add_argument(
        "--otava",
        metavar="PYTHON",
        help="a Python that has apache-otava (default: this one, if it has)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the history, and write the page where that was asked for."""
    from pytest_inferbench.report import change_points
    from pytest_inferbench.report.escaping import visible
    from pytest_inferbench.report.history import History, lines, plain
    from pytest_inferbench.report.reading import read_results

    history = History()
    for path in sorted(options.folder.rglob("*.json")):
        try:
            history.add(read_results(path))
        except InferbenchError as error:
            history.faults.append(str(error))
            print(error, file=sys.stderr)
    if not history.sessions:
        raise InferbenchError(
            "IB-913",
            f"{options.folder} holds no results",
            "Keep there what `pytest --inferbench-json PATH` writes, a file a session.",
        )
    history.sort()
    python = options.otava or (sys.executable if change_points.is_here() else None)
    if python is not None:
        change_points.search(history, python)
    text = "\n".join(map(visible, lines(history)))  # names in it are anybody's
    print(json.dumps(plain(history), indent=1) if options.json else text)
    if options.to is not None:
        _write(history, options.to, quiet=options.json)
    return 1 if history.faults else 0


def _write(history: History, path: Path, *, quiet: bool) -> None:
    from pytest_inferbench.report.html.history import history_page
    from pytest_inferbench.report.reading import write_text

    try:
        write_text(history_page(history), path)
    except OSError as error:
        raise InferbenchError(
            "IB-903", f"{path} could not be written: {error}", "Give another path."
        ) from error
    if not quiet:
        print(f"wrote {path}")
