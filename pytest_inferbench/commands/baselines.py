"""`inferbench baselines list | diff | prune | merge`: the recorded sessions, seen and tidied.

Prints; the parts are in `baselines/` and `report/recorded.py`. A file that cannot be trusted is
said, makes the exit status 1, and is never touched. `accept` has a file of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.commands.accept import add_accept
from pytest_inferbench.commands.arguments import (
    BAD_ARGUMENTS,
    DONE,
    Subparsers,
    add_json,
    add_settings,
    add_verb,
)
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.baselines.folder import Contents
    from pytest_inferbench.settings.schema import Settings

_UNTRUSTED = "1  a file cannot be trusted, or something asked about is wrong; said on stderr"
_STATUSES = (DONE, _UNTRUSTED, BAD_ARGUMENTS)


def add(verbs: Subparsers) -> None:
    """Add the verb and those below it."""
    own = add_verb(
        verbs,
        "baselines",
        "list, compare, accept, prune and merge the recorded sessions",
        ["inferbench baselines list", "inferbench baselines diff main"],
        _STATUSES,
    )
    own.set_defaults(reads_much=True)
    below = own.add_subparsers(required=True, metavar="VERB")
    _add_list(below)
    _add_diff(below)
    add_accept(below)
    _add_prune(below)
    _add_merge(below)


def _add_list(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "list",
        "every recorded cell, by hardware and model",
        ["inferbench baselines list", "inferbench baselines list --unused --json"],
        _STATUSES,
    )
    parser.add_argument(
        "--unused",
        action="store_true",
        help="only cells that nothing in the settings would use, with why",
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run_list)


def _add_diff(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "diff",
        "what changed between a git revision and the working tree, by cell",
        ["inferbench baselines diff", "inferbench baselines diff main --json"],
        ("0  done, whether or not anything changed", _UNTRUSTED, BAD_ARGUMENTS),
    )
    parser.add_argument(
        "revision", nargs="?", default="HEAD", metavar="REV", help="any commit (default: HEAD)"
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run_diff)


def _add_prune(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "prune",
        "remove old sessions, or cells that nothing uses; without --yes only say which",
        ["inferbench baselines prune --keep 5", "inferbench baselines prune --unused --yes"],
        ("0  done, whether or not anything was to be removed", _UNTRUSTED, BAD_ARGUMENTS),
    )
    parser.add_argument(
        "--keep", type=_at_least_one, metavar="N", help="keep the newest N sessions of each cell"
    )
    parser.add_argument(
        "--unused", action="store_true", help="remove the cells of `list --unused` altogether"
    )
    parser.add_argument("--yes", action="store_true", help="remove; else nothing is touched")
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run_prune, parser=parser)


def _add_merge(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "merge",
        "put both sides' sessions into the files that a git merge left in conflict",
        ["inferbench baselines merge"],
        ("0  done, whether or not anything was in conflict", _UNTRUSTED, BAD_ARGUMENTS),
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run_merge)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"at least 1 session of a cell stays, not {text!r}")
    return int(text)


def run_list(options: argparse.Namespace) -> int:
    """Print the recorded cells."""
    import msgspec

    from pytest_inferbench.baselines.listing import list_cases, list_file
    from pytest_inferbench.report.recorded import list_lines

    settings, held = _held(options)
    rows = [
        row
        for (_, model), file in sorted(held.files.items())
        for row in list_file(file, _unused(settings, model, file.cells))
        if row.unused or not options.unused
    ]
    cases = [
        row
        for _, record in sorted(held.cases.items())
        for row in list_cases(record, _unused(settings, record.model, record.cells))
        if row.unused or not options.unused
    ]
    if options.json:
        _print_json(
            {
                "folder": str(settings.baselines),
                "cells": msgspec.to_builtins(rows),
                "onnx_ops": msgspec.to_builtins(cases),
            },
            held.faults.values(),
        )
    elif rows or cases:
        print("\n".join(list_lines(rows, cases)))
    elif not held.faults:
        what = "nothing recorded is unused" if options.unused else "nothing is recorded"
        print(f"{what} in {settings.baselines}")
    return _status(held.faults.values(), said=options.json)


def run_diff(options: argparse.Namespace) -> int:
    """Print what changed since a revision."""
    import msgspec

    from pytest_inferbench.baselines.diff import diff, diff_cases
    from pytest_inferbench.baselines.folder import contents
    from pytest_inferbench.baselines.revision import entries_at
    from pytest_inferbench.report.recorded import diff_lines, plain_change

    settings, now = _held(options)
    then = contents(entries_at(settings.baselines, options.revision))
    faults = [_of_revision(error) for error in then.faults.values()] + [*now.faults.values()]
    # what only one side can tell is no change
    unknown = {*then.faults, *now.faults}
    then, now = then.without(unknown), now.without(unknown)
    changes = diff(then.files, now.files)
    cases = diff_cases(then.cases, now.cases)
    if options.json:
        _print_json(
            {
                "revision": options.revision,
                "folder": str(settings.baselines),
                "cells": [plain_change(change) for change in changes],
                "onnx_ops": msgspec.to_builtins(cases),
            },
            faults,
        )
    elif changes or cases:
        print("\n".join(diff_lines(changes, cases)))
    else:
        beside = " that can be compared" if faults else ""
        print(f"no recorded session{beside} changed since {options.revision}")
    return _status(faults, said=options.json)


def run_prune(options: argparse.Namespace) -> int:
    """Print what would go; remove it with `--yes`."""
    from pytest_inferbench.baselines.tidy import carry_out, plan
    from pytest_inferbench.judge.runs import MEASURED_FROM
    from pytest_inferbench.report.recorded import prune_lines

    if options.keep is None and not options.unused:
        options.parser.error("say what may go: --keep N, --unused, or both")
    settings, held = _held(options)
    unused = {
        key: _unused(settings, key[1], cells) if options.unused else {}
        for key, cells in held.cells()
    }
    planned = plan(settings.baselines, held, options.keep, unused)
    if options.yes:
        carry_out(planned)
    by_file = {str(each.path): each.removals for each in planned}
    if options.json:
        removed = {
            path: [dataclasses.asdict(each) for each in removals]
            for path, removals in by_file.items()
        }
        plain = {"folder": str(settings.baselines), "removed": options.yes, "files": removed}
        _print_json(plain, held.faults.values())
        return _status(held.faults.values(), said=True)
    lines = prune_lines(by_file, options.yes)
    print("\n".join(lines) or "nothing is to be removed")
    if lines and not options.yes:
        print("nothing was touched: add --yes to remove")
    if options.keep is not None and options.keep < MEASURED_FROM and lines:
        print(
            f"with fewer than {MEASURED_FROM} sessions the default spread of the hardware stands in"
            " for a cell's own (docs/verdicts.md)"
        )
    return _status(held.faults.values())


def run_merge(options: argparse.Namespace) -> int:
    """Resolve the files in conflict; each is left for the user to add."""
    from pytest_inferbench.baselines.conflict import conflicts
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.commands.project import project_settings

    folder = project_settings(Path.cwd(), options.settings).baselines
    found = conflicts(folder)
    faults = []
    merged: dict[str, dict[str, int]] = {}
    for conflict in found:
        try:
            if conflict.is_of_cases:
                raise _keep_one_side(conflict.path, "it records cases, not sessions")
            combined = conflict.combined()
            if not combined.cells:
                raise _keep_one_side(conflict.path, "together the sides leave no session")
            BaselineStore(folder).write(combined)
        except InferbenchError as error:
            faults.append(error)
        else:
            merged[str(conflict.path)] = {
                cell: len(combined.sessions(cell)) for cell in combined.cells
            }
    if options.json:
        _print_json({"folder": str(folder), "merged": merged}, faults)
        return _status(faults, said=True)
    for path, cells in merged.items():
        counts = ", ".join(f"{cell} {sessions}" for cell, sessions in cells.items())
        print(f"merged {path}: sessions of {counts}; `git add` it")
    if not found:
        print(f"no baseline is in conflict in {folder}")
    return _status(faults)


def _keep_one_side(path: Path, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-725",
        f"{path} was not merged: {why}",
        "Keep one side whole, `git checkout --ours` or `--theirs`, and record the other anew.",
    )


def _held(options: argparse.Namespace) -> tuple[Settings, Contents]:
    from pytest_inferbench.baselines.folder import contents, entries_in
    from pytest_inferbench.commands.project import project_settings

    settings = project_settings(Path.cwd(), options.settings)
    return settings, contents(entries_in(settings.baselines))


def _unused(settings: Settings, model: str, cells: Iterable[str]) -> dict[str, str]:
    from pytest_inferbench.baselines.unused import why_unused

    return {cell: why for cell in cells if (why := why_unused(settings, model, cell))}


def _of_revision(error: InferbenchError) -> InferbenchError:
    if error.code != "IB-711":
        return error
    return InferbenchError(
        "IB-723", error.message, "Compare with a revision whose file can be read."
    )


def _print_json(plain: Mapping[str, Any], faults: Iterable[InferbenchError]) -> None:
    listed = [{"code": each.code, "message": each.message} for each in faults]
    print(json.dumps({**plain, "untrusted": listed}, indent=1, ensure_ascii=False))


def _status(faults: Iterable[InferbenchError], *, said: bool = False) -> int:
    faults = list(faults)
    if not said:
        for error in faults:
            print(error, file=sys.stderr)
    return 1 if faults else 0
