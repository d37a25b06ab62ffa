"""The files that a session leaves of its results: takes the gate, writes what was asked for.

Everything is made from one document. GitHub's summary of a step is written without being asked,
once, by the process that saw every report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.report.document import Results

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file of a step's summary."""

_LEAST_SUMMARY = 512
"""Bytes below which there is no room for anything worth reading."""


def are_wanted(gate: Gate) -> bool:
    """Whether anything is to be written; GitHub is told nothing where no cell was met."""
    options = gate.options
    paths = (options.json_path, options.markdown_path, options.html_path)
    asked = any(path is not None for path in paths)
    return asked or bool(os.environ.get(SUMMARY) and gate.ledger.ours)


def write_outputs(gate: Gate, problems: Sequence[str]) -> list[str]:
    """Write every file; return what could not be written and fails the session for that.

    Args:
        gate: The gate of the process that saw every report.
        problems: What failed the session beyond its tests.
    """
    from pytest_inferbench.report.html import html
    from pytest_inferbench.report.markdown import markdown
    from pytest_inferbench.report.reading import write, write_text
    from pytest_inferbench.report.results import results

    document = results(gate, problems)
    options = gate.options
    asked: list[tuple[str, Path | None, Callable[[Path], None]]] = [
        ("IB-704", options.json_path, lambda path: write(document, path)),
        ("IB-904", options.markdown_path, lambda path: write_text(markdown(document), path)),
        ("IB-911", options.html_path, lambda path: write_text(html(document), path)),
    ]
    unwritten = []
    for code, path, put in asked:
        if path is None:
            continue
        try:
            put(path)
        except OSError as error:
            unwritten.append(f"[{code}] {path} could not be written: {error}")
    summary = os.environ.get(SUMMARY)
    if summary and gate.ledger.ours:
        gate.notices += _summarized(document, Path(summary))
    return unwritten


def _summarized(document: Results, path: Path) -> list[str]:
    """Append to the summary of GitHub's step; say why not, which fails nothing."""
    from pytest_inferbench.report.markdown import GITHUB_LIMIT, markdown

    try:
        left = GITHUB_LIMIT - (path.stat().st_size if path.exists() else 0)
        if left < _LEAST_SUMMARY:
            return [f"[IB-905] {SUMMARY} is full: GitHub takes {GITHUB_LIMIT >> 20} MiB a step"]
        with path.open("ab") as file:  # other commands of the step may have written before
            file.write(markdown(document, left - 1).encode() + b"\n")
    except OSError as error:
        return [f"[IB-905] {SUMMARY} could not be written: {error}"]
    return []
