"""The page: takes results, gives one HTML file that needs nothing else. Reads its own assets only.

Up to `STATIC` cells everything is in the page as it is read. Of more, what is wrong comes first and
is there likewise; the other rows and sections are carried compressed, and a script unfolds them
when they are looked at, so that ten thousand cells open at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench.judge.verdict import PASSING
from pytest_inferbench.report.document import CellResult, Results
from pytest_inferbench.report.html import about, words
from pytest_inferbench.report.html.detail import detail
from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.html.matrix import matrix
from pytest_inferbench.report.html.pareto import plot
from pytest_inferbench.report.html.references import Reference
from pytest_inferbench.report.html.table import (
    Shape,
    header,
    keys,
    row,
    session_names,
    shape_of,
    sorted_worst_first,
)
from pytest_inferbench.report.messages import counted
from pytest_inferbench.report.parts import FAILING

STATIC = 120
"""Cells whose rows are in the page as it is read; and their sections, where there are no more."""

STATIC_OF_MANY = 24
"""Sections that are in the page as they are read, where there are more cells."""

MOST_SECTIONS = 1000
"""Cells that have a section at all; the others have their row, and it says so."""

CHUNK = 40
"""Sections that are unfolded together."""

MOST_PLOTS = 8
"""Models whose plots are in the page as it is read."""

MOST_PROBLEMS = 20
"""Cells that are told on top of the page."""

MOST_UNFOLDED = 3
"""Sections that are open at first."""

_ASSETS = Path(__file__).parent / "assets"


def html(results: Results, references: Sequence[Reference] = ()) -> str:
    """Return the report.

    Args:
        results: What was measured and judged.
        references: Figures published elsewhere, to be shown beside it.
    """
    cells = sorted_worst_first(results.cells)
    anchors = {id(cell): f"c{i}" for i, cell in enumerate(cells)}
    shape = shape_of(results)
    plots = _plots(cells, anchors)
    main = join(
        _summary(results),
        _problems(results, cells, anchors),
        about.notices(results),
        _matrix(cells, anchors) if cells else None,
        _cells(cells, shape) if cells else None,
        _pareto(plots),
        about.published(references),
        about.serving(results.serving),
        about.onnx_ops(results.onnx_ops),
        _sections(results, cells),
        about.sessions(results),
        about.glossary(*_said(cells)),
    )
    return document(
        f"{words.headline(results)} - inference gate",
        join(_top(results), tag("main", main, id="main")),
        _data(results, cells, shape, plots),
    )


def document(title: str, content: Markup, data: Markup | None = None) -> str:
    """Return a whole page with our styles and script, and nothing from elsewhere.

    Args:
        title: What a browser's tab says.
        content: What is in the body.
        data: What the script reads.
    """
    css, script = _asset("report.css"), _asset("report.js")
    early = "document.documentElement.classList.add('js')"
    allowed = " ".join(f"'sha256-{_digest(each)}'" for each in (script, early))
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(css)}'; script-src {allowed};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(css)),
        tag("script", Markup(early)),
    )
    skip = tag("a", "Skip to the verdicts", href="#main", class_="skip")
    page = tag("body", skip, content, data, tag("script", Markup(script)))
    return f"<!doctype html>\n{tag('html', head, page, lang='en')}\n"


def _top(results: Results) -> Markup:
    last = results.sessions[-1] if results.sessions else None
    said = [results.recorded.replace("T", " ").replace("Z", " UTC")]
    if last is not None and last.git is not None:
        said.append(f"{last.git.branch} {last.git.commit[:10]}".strip())
    said.append(f"pytest-inferbench {results.inferbench}")
    toggle = tag("button", "Dark", type="button", id="theme", class_="script", aria_pressed="false")
    return tag(
        "header", tag("p", "Inference gate", class_="brand"), tag("p", " · ".join(said)), toggle
    )


def _summary(results: Results) -> Markup:
    counts = words.counts(results.cells)
    chips = [
        tag("li", words.badge(verdict), " ", tag("b", str(count)))
        for verdict, count in counts.items()
    ]
    decided = counts and PASSING.issuperset(counts)
    state = "bad" if results.failed else "good" if decided else "open"
    trust = words.trust(results)
    return tag(
        "section",
        tag("h1", words.headline(results)),
        tag("ul", *chips, class_="chips") if chips else None,
        tag("p", "; ".join(trust)[:1].upper() + "; ".join(trust)[1:] + ".") if trust else None,
        class_=f"summary {state}",
    )


def _problems(
    results: Results, cells: Sequence[CellResult], anchors: dict[int, str]
) -> Markup | None:
    wrong = [cell for cell in cells if cell.verdict in FAILING]
    if not wrong:
        return None
    names = session_names(results)
    items = []
    for cell in wrong[:MOST_PROBLEMS]:
        name = tag(
            "a", f"{cell.model} on {cell.backend} at {cell.precision}", href=f"#{anchors[id(cell)]}"
        )
        where = [cell.hardware, *([names[cell.session]] if len(names) > 1 else [])]
        items.append(
            tag(
                "li",
                words.badge(cell.verdict),
                tag("div", name, " ", tag("span", ", ".join(where), class_="quiet")),
                tag("ul", *(tag("li", text) for text in words.in_brief(cell))),
            )
        )
    more = len(wrong) - MOST_PROBLEMS
    return tag(
        "section",
        tag("h2", "What is wrong"),
        tag("ol", *items, class_="wrong"),
        tag("p", f"And {counted(more, 'more cell')}, first in the table below.")
        if more > 0
        else None,
        id="wrong",
    )


def _matrix(cells: Sequence[CellResult], anchors: dict[int, str]) -> Markup:
    return tag("section", tag("h2", "Verdicts"), matrix(cells, anchors), id="verdicts")


def _cells(cells: Sequence[CellResult], shape: Shape) -> Markup:
    rows = [row(cell, shape, f"c{i}") for i, cell in enumerate(cells[:STATIC])]
    rest = len(cells) - STATIC
    without = (
        tag(
            "noscript",
            tag("p", f"{counted(rest, 'more cell')} can be listed with JavaScript only."),
        )
        if rest > 0
        else None
    )
    table = tag(
        "table",
        header(shape),
        tag("tbody", *rows, role="rowgroup"),
        class_="cells",
        role="table",
        id="cells-table",
    )
    return tag(
        "section",
        tag("h2", "Cells"),
        tag("div", class_="controls script", id="controls"),
        tag("p", counted(len(cells), "cell"), id="shown", role="status", class_="quiet"),
        tag("div", table, class_="scroll cells-scroll"),
        tag("button", "Show more", type="button", id="more", class_="script", hidden=True),
        without,
        id="cells",
    )


def _plots(cells: Sequence[CellResult], anchors: dict[int, str]) -> list[tuple[str, Markup]]:
    by_model: dict[str, list[CellResult]] = {}
    for cell in cells:
        by_model.setdefault(cell.model, []).append(cell)
    return [
        (model, tag("div", drawn, class_="pareto", data_model=model))
        for model, own in by_model.items()
        if (drawn := plot(model, own, anchors)) is not None
    ]


def _pareto(plots: Sequence[tuple[str, Markup]]) -> Markup | None:
    if not plots:
        return None
    still = [drawn for _, drawn in plots[:MOST_PLOTS]]
    rest = len(plots) - len(still)
    told = f"{counted(rest, 'more model')} can be chosen with JavaScript only."
    more = tag("noscript", tag("p", told)) if rest > 0 else None
    return tag("section", tag("h2", "Latency against accuracy"), *still, more, id="pareto")


def _still(cells: Sequence[CellResult]) -> int:
    """Return how many sections are in the page as they are read."""
    return len(cells) if len(cells) <= STATIC else STATIC_OF_MANY


def _sections(results: Results, cells: Sequence[CellResult]) -> Markup | None:
    if not cells:
        return None
    parts = []
    unfolded = 0
    for i, cell in enumerate(cells[: _still(cells)]):
        first = cell.verdict in FAILING and unfolded < MOST_UNFOLDED
        unfolded += first
        parts.append(detail(cell, results, f"c{i}", unfolded=first or len(cells) == 1))
    rest = len(cells) - len(parts)
    if rest > 0:
        said = f"{counted(rest, 'more cell')}: their sections open from the table."
        parts += [tag("p", said, class_="quiet"), tag("div", id="unfolded")]
    return tag("section", tag("h2", "Each cell"), *parts, id="each")


def _data(
    results: Results,
    cells: Sequence[CellResult],
    shape: Shape,
    plots: Sequence[tuple[str, Markup]],
) -> Markup:
    """What sorting and filtering need, and what is carried compressed."""
    still = _still(cells)
    facts = {
        "columns": [
            {"key": c.key, "title": c.title, "number": c.number, "down": c.descending}
            for c in shape.columns
        ],
        "verdicts": list(words.SIGNS),
        "sessions": list(shape.sessions),
        "keys": [keys(cell, shape) for cell in cells],
        "codes": [" ".join(cell.codes) for cell in cells],
        "rows": STATIC,
        "still": still,
        "chunk": CHUNK,
        "sections": MOST_SECTIONS,
        "plots": [model for model, _ in plots],
    }
    parts = [_json("facts", facts)]
    if len(plots) > MOST_PLOTS:
        parts.append(_packed("plots", [drawn for _, drawn in plots[MOST_PLOTS:]]))
    if len(cells) > STATIC:
        rest = list(enumerate(cells))
        parts.append(_packed("rows", [row(cell, shape, f"c{i}") for i, cell in rest[STATIC:]]))
        told = rest[still:MOST_SECTIONS]
        for start in range(0, len(told), CHUNK):
            chunk = told[start : start + CHUNK]
            texts = [detail(cell, results, f"c{i}", unfolded=True) for i, cell in chunk]
            parts.append(_packed(f"sections-{start // CHUNK}", texts))
    return join(*parts)


def _json(name: str, value: object) -> Markup:
    # Inside a script element only `<` could end it, or begin a comment.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return tag("script", Markup(text), type="application/json", id=name)


def _packed(name: str, texts: Sequence[Markup]) -> Markup:
    packed = zlib.compress(json.dumps(texts, ensure_ascii=False).encode(), 6)
    text = base64.b64encode(packed).decode()
    return tag("script", text, type="application/octet-stream", id=name)


def _said(cells: Sequence[CellResult]) -> tuple[list[str], list[str]]:
    codes = {judged.code for cell in cells for judged in cell.judgements}
    codes |= {code for cell in cells for code in cell.codes}
    verdicts = {cell.verdict for cell in cells}
    verdicts |= {judged.verdict for cell in cells for judged in cell.judgements}
    return sorted(codes), sorted(verdicts)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
