"""Results as Markdown, for a pull request or a job's summary: takes `Results`, gives text. Pure.

First what it came to, in words; then what regressed, by how much and what to do; then the table of
cells. What says nothing and where it ran stand below, folded. Where the text may not be as long as
it is, rows are left out, and how many is said.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_inferbench.report.columns import columns
from pytest_inferbench.report.document import CellResult, Results, TestResult
from pytest_inferbench.report.escaping import escaped, fenced, visible
from pytest_inferbench.report.messages import (
    changed,
    counted,
    covered_line,
    figure,
    first_of,
    percent,
)
from pytest_inferbench.report.parts import JudgementResult
from pytest_inferbench.report.table import rows_of

GITHUB_LIMIT = 1 << 20
"""Bytes of a step's summary that GitHub takes."""

# How many rows a table has, tried one after another until the text is short enough.
_CAPS = (5000, 1000, 200, 50, 10, 0)
_NAMED = 20
_VERDICTS = ("failed", "regressed", "inconclusive", "missing", "skipped", "improved", "pass")
_ABOUT = "what this means: docs/verdicts.md of pytest-inferbench"


def markdown(results: Results, limit: int = GITHUB_LIMIT) -> str:
    """Return results as Markdown of no more than so many bytes of UTF-8."""
    text = ""
    for most in _CAPS:
        text = "\n".join(_lines(results, most)) + "\n"
        if len(text.encode()) <= limit:
            return text
    return text.encode()[: max(0, limit)].decode(errors="ignore").rpartition("\n")[0] + "\n"


def _lines(results: Results, most: int) -> Iterator[str]:
    yield f"## {headline(results)}"
    yield ""
    problems = [f"- {escaped(problem, 2000)}" for problem in _problems(results)]
    yield from [*problems, ""] if problems else []
    yield from _wrong(results, most)
    yield from _table_of_cells(results, most)
    yield from _improved(results, most)
    yield from _silent(results, most)
    yield from _onnx_ops(results, most)
    yield from _cannot_run(results, most)
    yield from _notices(results, most)
    yield from _where(results, most)


def headline(results: Results) -> str:
    """Return what it came to in one line: the verdict in words, with counts."""
    able = Counter(cell.verdict for cell in results.cells if not cell.cannot_run)
    counts = ", ".join(f"{able[verdict]} {verdict}" for verdict in _VERDICTS if able[verdict])
    cells = counted(sum(able.values()), "cell")
    unable = sum(bool(cell.cannot_run) for cell in results.cells)
    said = [f"{cells}: {counts}"] if able else []
    said += [f"{counted(unable, 'cell')} cannot run here"] if unable else []
    return f"Inference gate: {_verdict(results, able)}" + (f" ({'; '.join(said)})" if said else "")


def _verdict(results: Results, able: Counter[str]) -> str:
    if results.failed:
        return "regressed" if able["regressed"] and not able["failed"] else "failed"
    if not able:
        return "ONNX's own cases alone ran" if results.onnx_ops else "nothing ran"
    silent = able["inconclusive"] + able["missing"] + able["skipped"]
    if silent == sum(able.values()):
        if results.passed_in_part:
            return "nothing failed, but no cell was judged in full"
        return "nothing reached a verdict"
    return "passed, but not every cell reached a verdict" if silent else "passed"


def _problems(results: Results) -> Iterator[str]:
    yield from (f"left out: {why}" for why in results.left_out)
    for session in results.sessions:
        where = f"{session.name}: " if len(results.sessions) > 1 else ""
        for required in session.requirements:
            if required.unmet:
                yield f"{where}--inferbench-require {required.expression!r}: {required.unmet}"
        for problem in session.problems:
            yield f"{where}{problem}"


def _wrong(results: Results, most: int) -> Iterator[str]:
    """Yield what failed: a row a figure, then each message whole."""
    rows, paragraphs = [], []
    for cell in results.cells:
        for test in cell.tests:
            if test.outcome != "failed":
                continue
            regressed = [each for each in test.judgements if each.verdict == "regressed"]
            rows += [_row_of(results, cell, test, each) for each in regressed]
            if not regressed:
                rows.append(_row_without(results, cell, test))
            paragraphs.append((cell, test))
    if not rows:
        return
    yield "### What failed"
    yield ""
    titles = ["cell", "metric", "now", "baseline", "change", "budget", "code", "what to do"]
    # a cell whose outputs are wrong says so in each of its tests
    distinct = {tuple(row[:-1]): row for row in reversed(rows)}
    yield from table(titles, list(distinct.values())[::-1], most)
    yield ""
    yield from _folded("messages in full", _paragraphs(results, paragraphs, most))


def _row_of(
    results: Results, cell: CellResult, test: TestResult, judged: JudgementResult
) -> list[str]:
    then = judged.baseline
    return [
        _named(results, cell),
        escaped(judged.metric),
        escaped(figure(judged.value, judged.unit)),
        "" if then is None or math.isnan(then) else escaped(figure(then, judged.unit)),
        escaped(_changed(judged)),
        escaped(judged.budget),
        escaped(judged.code),
        escaped(_advice(test, judged)),
    ]


def _row_without(results: Results, cell: CellResult, test: TestResult) -> list[str]:
    """Return the row of a test that failed without a figure: a crash, an error, a broken rule."""
    first, _, _ = test.reason.partition("\n")
    code = first.partition("[")[2].partition("]")[0]
    known = code if re.fullmatch(r"IB-\d{3}", code) else ""
    name = test.kind or test.test.partition("[")[0].rpartition("::")[2]
    return [_named(results, cell), escaped(name), "", "", "", "", known, escaped(first)]


def _changed(judged: JudgementResult) -> str:
    """Return by how much a figure changed, with the bounds; empty where nothing is compared."""
    return "" if judged.change is None else changed(judged.change)


def _advice(test: TestResult, judged: JudgementResult) -> str:
    """Return what to do, and which kinds of things are not as they were."""
    told = [test.context.get(name, "") for name in ("what to do", "to find the layer")]
    differing = [line.partition(":")[0] for line in test.differs]
    said = "; ".join(filter(None, [*told, ", ".join(differing)]))
    return said or judged.detail.partition("; ")[0]


def _paragraphs(
    results: Results, failed: Sequence[tuple[CellResult, TestResult]], most: int
) -> Iterator[str]:
    for number, (cell, test) in enumerate(failed[:most]):
        yield from [""] if number else []
        yield f"{_named(results, cell)}, `{_in_code(test.test)}`:"
        yield ""
        yield fenced(test.reason)
    if len(failed) > most:
        yield ""
        yield f"and {len(failed) - most} more"


def _table_of_cells(results: Results, most: int) -> Iterator[str]:
    rows = rows_of(results)
    if not rows:
        return
    yield "### Cells"
    yield ""
    shown = columns(rows)
    used = [column for column in shown if any(column.texts)]
    text = [[escaped(column.texts[i]) for column in used] for i in range(len(rows))]
    numbers = [index for index, column in enumerate(used) if column.is_number]
    if len(text) > most:  # what failed is above; of the rest the worst are shown first
        worst_first = {verdict: place for place, verdict in enumerate(_VERDICTS)}
        order = sorted(range(len(rows)), key=lambda i: worst_first.get(rows[i].verdict, 0))
        text = [text[i] for i in order]
    yield from table([column.title for column in used], text, most, numbers)
    yield ""


def _improved(results: Results, most: int) -> Iterator[str]:
    rows = [
        [_named(results, cell), escaped(judged.metric), escaped(_changed(judged))]
        for cell in results.cells
        for judged in cell.judgements
        if judged.verdict == "improved"
    ]
    if rows:
        title = f"improved: {counted(len(rows), 'figure')}"
        yield from _folded(title, table(["cell", "metric", "change"], rows, most))


def _silent(results: Results, most: int) -> Iterator[str]:
    """Yield what reached no verdict, with why."""
    rows = []
    not_asked = 0
    for cell in results.cells:
        for test in cell.tests if not cell.cannot_run else ():
            judged = [j for j in test.judgements if j.verdict in ("inconclusive", "missing")]
            rows += [
                [_named(results, cell), *map(escaped, (j.metric, j.verdict, j.code, _seen(j)))]
                for j in judged
            ]
            if test.not_asked is not None:
                not_asked += 1
            elif test.outcome == "skipped" and not judged:
                rows.append([_named(results, cell), escaped(test.kind), "skipped", "",
                             escaped(test.reason)])  # fmt: skip
    if rows:
        titles = ["cell", "metric", "verdict", "code", "why"]
        title = f"without a verdict: {counted(len(rows), 'figure')}"
        yield from _folded(title, table(titles, rows, most))
    if not_asked:
        yield f"Not asked, for it does not apply: {counted(not_asked, 'question')} (IB-640)."
        yield ""


def _seen(judged: JudgementResult) -> str:
    visible = judged.smallest_visible
    said = f"{_changed(judged)}, budget {judged.budget}; " if judged.change is not None else ""
    from_ = "" if visible is None else f"visible from {percent(visible)}; "
    return f"{said}{from_}{judged.detail}"


def _onnx_ops(results: Results, most: int) -> Iterator[str]:
    if results.onnx_ops:
        yield "### ONNX's own cases"
        yield ""
        yield from (f"- {escaped(covered_line(each), 2000)}" for each in results.onnx_ops[:most])
        yield ""


def _cannot_run(results: Results, most: int) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for cell in results.cells:
        if cell.cannot_run:
            by_reason.setdefault(cell.cannot_run, []).append(_named(results, cell))
    if not by_reason:
        return
    rows = [[escaped(reason), first_of(cells, _NAMED)] for reason, cells in by_reason.items()]
    count = counted(sum(map(len, by_reason.values())), "cell")
    yield from _folded(f"cannot run here: {count}", table(["why", "cells"], rows, most))


def _notices(results: Results, most: int) -> Iterator[str]:
    said = [f"- {escaped(notice, 1000)}" for notice in results.notices[:most]]
    if len(results.notices) > most:
        said.append(f"- and {len(results.notices) - most} more")
    if said:
        yield from _folded(f"notices: {len(results.notices)}", said)


def _where(results: Results, most: int) -> Iterator[str]:
    """Yield when, on what and with what it ran, session by session."""
    said: list[str] = []
    for session in results.sessions[:most]:
        rows = [["recorded", session.recorded], ["inferbench", session.inferbench]]
        if session.git is not None:
            state = ", with changes" if session.git.dirty else ""
            rows.append(["commit", f"{session.git.commit} {session.git.branch}{state}"])
        rows.append(["command", " ".join(["pytest", *session.command])])
        rows += [[name, _plain(value)] for name, value in session.host.items() if value]
        for name, each in session.environments.items():
            packages = ", ".join(f"{k} {v}" for k, v in sorted(each.distributions.items()))
            where = f" on {each.host}" if each.host else ""
            rows.append([f"environment {name}{where}", each.unreachable or packages])
        rows += [[f"option {name}", value] for name, value in session.options.items()]
        if len(results.sessions) > 1:
            said += [f"**{escaped(session.name)}**", ""]
        said += [*table(["", ""], [[escaped(k), escaped(v, 2000)] for k, v in rows], 200), ""]
    if len(results.sessions) > most:
        said.append(f"and {counted(len(results.sessions) - most, 'session')} more")
    yield from _folded("environment", [*said, _ABOUT])


def table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], most: int, numbers: Sequence[int] = ()
) -> Iterator[str]:
    """Yield a table of cells that are Markdown already; rows beyond `most` are counted."""
    yield f"| {' | '.join(titles)} |"
    yield f"|{'|'.join('---:' if i in numbers else '---' for i in range(len(titles)))}|"
    for row in rows[:most]:
        yield f"| {' | '.join(row)} |"
    if len(rows) > most:
        yield ""
        yield f"and {len(rows) - most} more: `inferbench report merge` prints all of them"


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"
    yield ""


def _named(results: Results, cell: CellResult) -> str:
    where = results.session_of(cell).name if len(results.sessions) > 1 else ""
    return escaped(f"{cell}{f' [{where}]' if where else ''}")


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _in_code(text: str) -> str:
    """Return text that can stand between backticks in one line."""
    return " ".join(visible(text).replace("`", "'").split())[:400]
