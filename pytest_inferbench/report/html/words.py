"""The words and signs of verdicts: takes results, gives sentences and badges. Pure.

A verdict is never told by its colour alone: a sign and its word stand with it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from pytest_inferbench.report.document import CellResult, Results
from pytest_inferbench.report.html.markup import Markup, tag
from pytest_inferbench.report.messages import changed, counted, figure, percent
from pytest_inferbench.report.parts import FAILING, JudgementResult

SIGNS = {
    "failed": "!",
    "regressed": "✕",
    "inconclusive": "?",
    "missing": "○",
    "skipped": "\u2013",
    "cannot run": "⊘",
    "pass": "✓",
    "improved": "▲",
}
"""Every verdict of a cell, worst first, with its sign."""

MEANINGS = {
    "failed": "a test failed without a verdict: a crash, an error, a broken model",
    "regressed": "outside its budget, and noise is not why",
    "inconclusive": "too noisy, or too little is recorded, to tell",
    "missing": "nothing is recorded yet to compare with",
    "skipped": "nothing was judged",
    "cannot run": "the device, package or recipe is not here",
    "pass": "within its budget",
    "improved": "better than the baseline by more than the budget",
}

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_RANK = {verdict: i for i, verdict in enumerate(SIGNS)}


def kind(verdict: str) -> str:
    """Return a verdict as a class of the style sheet."""
    return "v-" + verdict.replace(" ", "-") if verdict in SIGNS else "v-skipped"


def rank(verdict: str) -> int:
    """Return the place of a verdict, worst first."""
    return _RANK.get(verdict, len(_RANK))


def badge(verdict: str) -> Markup:
    """Return a verdict as a sign and a word."""
    sign = tag("span", SIGNS.get(verdict, "·"), aria_hidden="true")
    return tag("span", sign, " ", verdict, class_=f"badge {kind(verdict)}")


def counts(cells: Iterable[CellResult]) -> dict[str, int]:
    """Return how many cells ended how, worst first."""
    found = Counter(cell.verdict for cell in cells)
    return {verdict: found[verdict] for verdict in sorted(found, key=rank)}


def headline(results: Results) -> str:
    """Return in one sentence what came of it all."""
    found = counts(results.cells)
    total = len(results.cells)
    wrong = [f"{found[v]} {v}" for v in FAILING if found.get(v)]
    if wrong:
        return f"{' and '.join(wrong)}, of {counted(total, 'cell')}"
    if results.failed:
        return "Failed" + (f", though none of {counted(total, 'cell')} regressed" if total else "")
    good = found.get("pass", 0) + found.get("improved", 0)
    if not total:
        return "No cell ran"
    if not good:
        none = f"none of {counted(total, 'cell')} could be judged"
        return (
            f"Nothing failed, but {none} in full"
            if results.passed_in_part
            else f"No verdict: {none}"
        )
    if good == total:
        return f"All {counted(total, 'cell')} within budget"
    return f"{good} of {counted(total, 'cell')} within budget; the others have no verdict"


def in_brief(cell: CellResult) -> list[str]:
    """Return what is wrong with a cell, a line each."""
    wrong = [j for j in cell.judgements if j.verdict == "regressed"]
    if wrong:
        return [statement(judged) for judged in wrong]
    failed = [test.reason for test in cell.tests if test.outcome == "failed" and test.reason]
    return [first_line(failed[0]) if failed else cell.cannot_run or cell.verdict]


def statement(judged: JudgementResult) -> str:
    """Return a judgement in one line: figure, baseline, interval, budget."""
    if not math.isfinite(judged.value):
        value = "" if math.isnan(judged.value) else f": {judged.value:+}"
        return f"{judged.metric}{value}" + (f", budget {judged.budget}" if judged.budget else "")
    text = f"{judged.metric} {figure(judged.value, judged.unit)}"
    if judged.baseline is not None:
        text += f" against {figure(judged.baseline, judged.unit)}"
    if judged.change is not None:
        text += f", {changed(judged.change)}"
    return text + (f", budget {judged.budget}" if judged.budget else "")


def trust(results: Results) -> list[str]:
    """Return what bears on how far the figures may be trusted, a sentence each."""
    said = []
    runs = [run for cell in results.cells for run in cell.runs]
    aside = [run.set_aside for run in runs if not run.counts]
    if runs:
        said.append(
            f"{counted(len(runs), 'run')} in fresh workers"
            + (f", {len(aside)} of them set aside" if aside else ", none set aside")
            + (f", the first because {aside[0]}" if len(aside) * 2 > len(runs) else "")
        )
    recorded = [len(cell.recorded) for cell in results.cells if cell.recorded]
    if recorded:
        few, many = min(recorded), max(recorded)
        sessions = counted(many, "recorded session") if few == many else f"{few} to {many} sessions"
        said.append(f"judged against {sessions} a cell")
    unclear = [
        judged.smallest_visible
        for cell in results.cells
        for judged in cell.judgements
        if judged.verdict == "inconclusive" and judged.smallest_visible is not None
    ]
    if unclear:
        low, high = percent(min(unclear)), percent(max(unclear))
        seen = low if low == high else f"{low} to {high}"
        said.append(f"{counted(len(unclear), 'figure')} inconclusive: visible from {seen}")
    if any(session.git and session.git.dirty for session in results.sessions):
        said.append("the project had uncommitted changes")
    return said


def first_line(text: str) -> str:
    """Return the first line of a paragraph, without what pytest puts before it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def moment(when: str) -> str:
    """Return a time of ISO 8601 in few characters: "Nov 23 10:00"; anything else as it is."""
    found = re.match(r"\d{4}-(\d\d)-(\d\d)T(\d\d:\d\d)", when)
    if found is None or not 1 <= int(found[1]) <= 12:
        return when
    return f"{_MONTHS[int(found[1]) - 1]} {int(found[2])} {found[3]}"
