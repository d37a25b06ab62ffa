"""`inferbench report merge | markdown | html | history | schema`: results put together and shown.

Prints or writes; the parts are in `report/`. What something failed in, in any session, makes the
exit status of `merge` 1, as it made pytest's.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.commands import history
from pytest_inferbench.commands.arguments import BAD_ARGUMENTS, DONE, Subparsers, add_json, add_verb
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.report.document import Results

_UNREADABLE = "1  a file cannot be read or written; said on stderr"
_STATUSES = (DONE, _UNREADABLE, BAD_ARGUMENTS)
_OF_MERGE = (
    "0  done, and nothing failed in any session",
    "1  something failed or regressed in one, or a file cannot be read; said on stderr",
    BAD_ARGUMENTS,
)


def add(verbs: Subparsers) -> None:
    """Add the verb and those below it."""
    own = add_verb(
        verbs,
        "report",
        "put results together and show them: what --inferbench-json wrote",
        ["inferbench report merge cpu.json gpu.json", "inferbench report html gate.json"],
        _STATUSES,
    )
    own.set_defaults(reads_much=True)
    below = own.add_subparsers(required=True, metavar="VERB")
    _add_merge(below)
    _add_markdown(below)
    _add_html(below)
    history.add(below)
    schema = add_verb(
        below,
        "schema",
        "the JSON schema of results, as docs/schema.json has it",
        ["inferbench report schema"],
    )
    schema.set_defaults(run=run_schema)


def _add_merge(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "merge",
        "the results of several jobs in one table; a cell that two have is shown of each",
        [
            "inferbench report merge cpu.json gpu.json jetson.json",
            "inferbench report merge cpu.json gpu.json --to all.json",
        ],
        _OF_MERGE,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="RESULTS.json")
    parser.add_argument("--to", type=Path, metavar="PATH", help="write the merged results there")
    add_json(parser)
    parser.set_defaults(run=run_merge)


def _add_markdown(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "markdown",
        "results as Markdown, for a pull request",
        ["inferbench report markdown gate.json", "inferbench report markdown a.json b.json"],
        _STATUSES,
    )
    _add_shown(parser)
    parser.set_defaults(run=run_markdown)


def _add_html(below: Subparsers) -> None:
    parser = add_verb(
        below,
        "html",
        "results as one HTML file that needs no other",
        [
            "inferbench report html gate.json",
            "inferbench report html a.json b.json --to all.html",
            "inferbench report html gate.json --references published.toml",
        ],
        _STATUSES,
    )
    _add_shown(parser)
    parser.add_argument(
        "--references",
        type=Path,
        metavar="FILE",
        help="figures published elsewhere, to be shown beside it (TOML or JSON)",
    )
    parser.set_defaults(run=run_html)


def _add_shown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="RESULTS.json", help="several are merged"
    )
    parser.add_argument("--to", type=Path, metavar="PATH", help="write it there")


def run_merge(options: argparse.Namespace) -> int:
    """Print the table of all, write it where that was asked for."""
    from pytest_inferbench.report.console import lines, session_lines
    from pytest_inferbench.report.merge import merge
    from pytest_inferbench.report.reading import encode

    documents, names, faults = _read(options.files)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not documents:
        return 1
    merged = merge(documents, names, [f"[{each.code}] {each.message}" for each in faults])
    if options.to is not None:
        _write(encode(merged).decode(), options.to)
    if options.json:
        print(encode(merged).decode(), end="")
    else:
        for line in lines(merged, is_coloured=sys.stdout.isatty()):
            print(line)
        for line in session_lines(merged):
            print(line)
    return 1 if faults or merged.failed else 0


def run_markdown(options: argparse.Namespace) -> int:
    """Print it, or write it where that was asked for."""
    from pytest_inferbench.report.markdown import markdown

    return _shown(markdown(_merged(options.files)), options.to)


def run_html(options: argparse.Namespace) -> int:
    """Write it beside the first file, or where that was asked for."""
    from pytest_inferbench.report.html import html
    from pytest_inferbench.report.html.references import read_references

    references = () if options.references is None else read_references(options.references)
    text = html(_merged(options.files), references)
    return _shown(text, options.to or options.files[0].with_suffix(".html"))


def run_schema(_options: argparse.Namespace) -> int:
    """Print the schema."""
    from pytest_inferbench.report.reading import schema_text

    print(schema_text(), end="")
    return 0


def _shown(text: str, to: Path | None) -> int:
    if to is None:
        print(text, end="")
    else:
        _write(text, to)
        print(f"wrote {to}")
    return 0


def _merged(files: Sequence[Path]) -> Results:
    """Return what the files hold as one document; one file as it is.

    Raises:
        InferbenchError: One of them cannot be read.
    """
    from pytest_inferbench.report.merge import merge

    documents, names, faults = _read(files)
    if faults:
        raise faults[0]
    return documents[0] if len(documents) == 1 else merge(documents, names)


def _read(files: Sequence[Path]) -> tuple[list[Results], list[str], list[InferbenchError]]:
    """Return what can be read, what each is called, and why the others cannot."""
    from pytest_inferbench.report.reading import read_results

    documents, names, faults = [], [], []
    stems = Counter(path.stem for path in files)
    for path in files:
        try:
            documents.append(read_results(path))
        except InferbenchError as error:
            faults.append(error)
        else:
            # jobs may call their files alike, and keep them in folders of their own
            is_alone = stems[path.stem] == 1
            names.append(path.stem if is_alone else f"{path.absolute().parent.name}/{path.stem}")
    return documents, names, faults


def _write(text: str, path: Path) -> None:
    from pytest_inferbench.report.reading import write_text

    try:
        write_text(text, path)
    except OSError as error:
        raise InferbenchError(
            "IB-903", f"{path} could not be written: {error}", "Give another path."
        ) from error
