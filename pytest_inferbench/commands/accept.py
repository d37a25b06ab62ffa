"""`inferbench baselines accept`: what a gate measured becomes a recorded session, unmeasured anew.

Takes results that `--inferbench-json` wrote; the parts are `baselines/taking.py` (what may be
taken) and `recording.py` (how it is written). What is refused is said, and makes the status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.commands.arguments import (
    BAD_ARGUMENTS,
    Subparsers,
    add_json,
    add_settings,
    add_verb,
)
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.report.document import CellResult, Results
    from pytest_inferbench.settings.schema import Settings


def add_accept(below: Subparsers) -> None:
    """Add the verb below `baselines`."""
    parser = add_verb(
        below,
        "accept",
        "record the session that a gate measured, from its results, without measuring again",
        [
            'inferbench baselines accept --from gate.json --reason "new driver"',
            'inferbench baselines accept --from gate.json -m int8 --reason "new scales" --replace',
        ],
        (
            "0  every cell that was asked for is recorded, or was already",
            "1  a cell was refused (the others are recorded), or there was none; said on stderr",
            BAD_ARGUMENTS,
        ),
    )
    parser.add_argument(
        "--from",
        dest="results",
        type=Path,
        required=True,
        metavar="RESULTS.json",
        help="what --inferbench-json wrote",
    )
    parser.add_argument(
        "--reason", required=True, type=_reason, metavar="TEXT", help="why; it is kept in the file"
    )
    parser.add_argument(
        "-m",
        dest="expression",
        metavar="EXPR",
        help="the cells that this marker expression names (default: those whose timing did not"
        " simply pass)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="drop the earlier sessions of those cells"
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run_accept)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why the baseline changes")
    return text.strip()


def run_accept(options: argparse.Namespace) -> int:
    """Record, and print what was recorded."""
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.commands.project import project_settings
    from pytest_inferbench.report.escaping import visible
    from pytest_inferbench.report.reading import read_results

    settings = project_settings(Path.cwd(), options.settings)
    results = read_results(options.results)
    cells = _chosen(results, options)
    store = BaselineStore(settings.baselines)
    lines: list[str] = []
    refused: dict[str, InferbenchError] = {}
    for cell in cells:
        try:
            lines += _queued(store, settings, results, cell, options)
        except InferbenchError as error:
            refused[cell.id] = error
    written = [str(path) for path in store.flush()]
    if options.json:
        plain = {
            "results": str(options.results),
            "lines": lines,
            "wrote": written,
            "refused": [
                {"cell": id_, "code": refusal.code, "message": refusal.message}
                for id_, refusal in refused.items()
            ],
        }
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        for line in [*lines, *(f"wrote {path}" for path in written)]:
            print(line)
        for refusal in refused.values():
            print(visible(str(refusal)), file=sys.stderr)
    return 1 if refused else 0


def _chosen(results: Results, options: argparse.Namespace) -> list[CellResult]:
    """Return the cells that are asked for, one at least."""
    from pytest_inferbench.baselines.taking import differs_from_baseline

    if options.expression is None:
        chosen = [cell for cell in results.cells if differs_from_baseline(cell)]
        why = "every comparison with a baseline passed: -m says which cells to record all the same"
    else:
        from pytest_inferbench.requirements import named_by

        chosen = [
            cell
            for cell in results.cells
            if named_by(options.expression, {*cell.markers, cell.model}, "-m")
        ]
        why = f"-m {options.expression!r} names none of its {len(results.cells)} cells"
    if not chosen:
        raise InferbenchError(
            "IB-928",
            f"there is nothing to accept in {options.results}: {why}",
            "`inferbench report merge RESULTS.json` shows what is in it.",
        )
    return chosen


def _queued(
    store: BaselineStore,
    settings: Settings,
    results: Results,
    cell: CellResult,
    options: argparse.Namespace,
) -> list[str]:
    from pytest_inferbench.baselines.taking import NotTakenError, session_from
    from pytest_inferbench.recording import queue

    of = results.session_of(cell)
    try:
        session = session_from(cell, of, options.reason)
    except NotTakenError as error:
        raise InferbenchError(
            "IB-929", f"{cell} was not recorded: {error}", "Measure it with --update-baselines."
        ) from error
    file = store.read(cell.hardware, cell.model)
    earlier = file.sessions(f"{cell.backend} {cell.precision}") if file else ()
    same = (session.recorded, session.artifact)
    if any((each.recorded, each.artifact) == same for each in earlier):
        return [f"{cell} has this session already"]
    return queue(store, settings, cell, session, replace=options.replace)
