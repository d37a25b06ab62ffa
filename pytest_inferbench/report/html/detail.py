"""All that is known of one cell, as a section: takes a cell and its session, gives markup. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_inferbench.report.document import CellResult, Results, TestResult
from pytest_inferbench.report.html import charts, words
from pytest_inferbench.report.html.charts import Curve
from pytest_inferbench.report.html.evidence import (
    bar_of,
    limit_of,
    loss_bars,
    rows_of,
    title_of,
)
from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.html.scale import short
from pytest_inferbench.report.messages import changed, counted, figure, first_of, percent
from pytest_inferbench.report.parts import ComparisonResult, JudgementResult, LoadPoint

MOST_POINTS = 240
"""Of a curve over time: a drawing has no room for more."""

_ALWAYS = ("p5", "p50")
_UNITS = {"p5": "ms", "p50": "ms"}


def detail(cell: CellResult, results: Results, anchor: str, *, unfolded: bool = False) -> Markup:
    """Return a cell's section.

    Args:
        cell: The cell.
        results: The document that it is of.
        anchor: The name of the place.
        unfolded: Whether it is open at first.
    """
    title = tag("h3", f"{cell.model} on {cell.backend} at {cell.precision}")
    where = [cell.hardware]
    if len(results.sessions) > 1:
        session = results.session_of(cell)
        where.append(session.name or session.recorded)
    summary = tag(
        "summary", words.badge(cell.verdict), title, tag("span", ", ".join(where), class_="quiet")
    )
    return tag(
        "details",
        summary,
        body(cell),
        id=anchor,
        open=unfolded,
        class_=f"cell {words.kind(cell.verdict)}",
    )


def body(cell: CellResult) -> Markup:
    """Return what a cell's section holds."""
    return tag(
        "div",
        _cannot_run(cell),
        _judgements(cell),
        _paragraphs(cell),
        _differs(cell),
        _figures(cell),
        _placement(cell),
        _runs(cell),
        _facts(cell),
        class_="body",
    )


def _cannot_run(cell: CellResult) -> Markup | None:
    return tag("p", "Cannot run here: ", cell.cannot_run) if cell.cannot_run else None


def _judgements(cell: CellResult) -> Markup | None:
    judged = sorted(cell.judgements, key=lambda j: words.rank(j.verdict))
    if not judged:
        return None
    head = ("verdict", "metric", "measured", "baseline", "change", "budget", "code")
    rows = []
    for each in judged:
        fields = (
            words.badge(each.verdict),
            each.metric,
            figure(each.value, each.unit),
            "" if each.baseline is None else figure(each.baseline, each.unit),
            _change(each),
            each.budget,
            _code(each.code),
        )
        labels = ("", *head[1:])
        rows.append(
            tag(
                "tr",
                *(
                    tag("td", value, role="cell", data_label=label if value else None)
                    for label, value in zip(labels, fields, strict=True)
                ),
                role="row",
            )
        )
        if each.detail and each.verdict != "pass":
            said = tag("ul", *(tag("li", part) for part in each.detail.split("; ") if part))
            rows.append(
                tag("tr", tag("td", said, colspan="7", role="cell"), class_="said", role="row")
            )
    columns = tag(
        "tr", *(tag("th", each, scope="col", role="columnheader") for each in head), role="row"
    )
    table = tag(
        "table",
        tag("thead", columns, role="rowgroup"),
        tag("tbody", *rows, role="rowgroup"),
        class_="judged",
        role="table",
    )
    return tag("div", table, class_="scroll")


def _change(judged: JudgementResult) -> object:
    if judged.change is None or not math.isfinite(judged.change.value):
        return ""
    text = changed(judged.change)
    mark = charts.change_mark(bar_of(judged, judged.change), text)
    seen = (
        tag("small", f"visible from {percent(judged.smallest_visible)}")
        if judged.verdict == "inconclusive" and judged.smallest_visible is not None
        else None
    )
    return join(mark, " ", tag("span", text, class_="figure"), seen)


def _code(code: str) -> Markup:
    return tag("a", code, href=f"#code-{code}")


def _paragraphs(cell: CellResult) -> Markup | None:
    """What tests said that failed, or were skipped without a judgement."""
    parts = []
    for test in cell.tests:
        silent = test.outcome != "passed" and not test.judgements and not test.not_asked
        if test.reason and (test.outcome == "failed" or (silent and not cell.cannot_run)):
            name = tag("summary", f"{_brief(test)} {test.outcome}: what it said")
            crashed = test.outcome == "failed" and not test.judgements
            parts.append(tag("details", name, tag("pre", test.reason), open=crashed))
    return join(*parts) if parts else None


def _differs(cell: CellResult) -> Markup | None:
    lines = dict.fromkeys(line for test in cell.tests for line in test.differs)
    if not lines:
        return None
    return join(
        tag("h4", "Not as it was when the baseline was recorded"),
        tag("ul", *(tag("li", line) for line in lines)),
    )


def _figures(cell: CellResult) -> Markup | None:
    judged = {j.metric: j for j in cell.judgements}
    wanted = [m for m in judged if judged[m].change is not None or judged[m].unit in ("ms", "MiB")]
    wanted = list(dict.fromkeys([*_ALWAYS, *wanted]))
    drawn: list[Markup | None] = [_strip(cell, metric, judged.get(metric)) for metric in wanted]
    drawn += [_rounds(each) for each in cell.comparisons]
    drawn += [_batches(cell), *_load(cell.load), _losses(cell), _power(cell)]
    found = [each for each in drawn if each is not None]
    return tag("div", *found, class_="figures") if found else None


def _strip(cell: CellResult, metric: str, judged: JudgementResult | None) -> Markup | None:
    rows = rows_of(cell, metric, words.moment)
    unit = judged.unit if judged else _UNITS.get(metric, "")
    limit = limit_of(judged) if judged else None
    notes = []
    if judged and judged.baseline is not None:
        notes.append(f"Line: the baseline, {short(judged.baseline)}.")
    if judged and limit is not None:
        notes.append(f"Dashed: the limit, {short(limit)}.")
    if any(row.aside for row in rows):
        notes.append("Hollow: set aside.")
    more = len(cell.recorded) - sum(not row.now for row in rows)
    if more > 0 and len(rows) > 1:
        notes.append(f"{counted(more, 'older session')} not drawn.")
    return charts.strip(
        title_of(metric),
        rows,
        unit,
        judged.baseline if judged else None,
        limit,
        judged.budget if judged else "",
        " ".join(notes),
    )


def _rounds(compared: ComparisonResult) -> Markup | None:
    metrics = list(dict.fromkeys(name for each in compared.rounds for name in each.change))
    rows = [
        charts.Row(
            name,
            tuple(100 * each.change[name] for each in compared.rounds if name in each.change),
            now=True,
        )
        for name in metrics
    ]
    aside = len(compared.set_aside)
    note = f"{counted(len(compared.rounds), 'round')} in {compared.seconds:.0f} s"
    note += f", {aside} set aside" if aside else ""
    return charts.strip(f"Side by side with {compared.label}", rows, "%", 0.0, note=note + ".")


def _batches(cell: CellResult) -> Markup | None:
    latency = Curve("", tuple((float(b.batch), b.p50_ms) for b in cell.batches))
    rate = Curve("", tuple((float(b.batch), b.per_s) for b in cell.batches))
    if len(cell.batches) < 2:
        return None
    return join(
        charts.curves("Latency by batch size", [latency], "batch size", "p50, ms", doubling=True),
        charts.curves("Throughput by batch size", [rate], "batch size", "a second", doubling=True),
    )


def _load(points: Sequence[LoadPoint]) -> list[Markup | None]:
    points = sorted((p for p in points if p.latency_ms), key=lambda p: p.clients)
    if len(points) < 2:
        return []
    latency = [
        Curve(name, tuple((float(p.clients), p.latency_ms.get(name, math.nan)) for p in points))
        for name in ("p50", "p95", "p99")
    ]
    rate = [Curve("", tuple((float(p.clients), p.per_s or math.nan) for p in points))]
    return [
        charts.curves("Latency by clients", latency, "clients", "ms", doubling=True),
        charts.curves("Answers by clients", rate, "clients", "a second", doubling=True),
    ]


def _losses(cell: CellResult) -> Markup | None:
    return charts.intervals(
        "Lost against the reference", loss_bars(cell), "", "More is worse; the mark is the limit."
    )


def _power(cell: CellResult) -> Markup | None:
    polled = [run for run in cell.runs if len(run.watts_over_time) > 1]
    series = []
    for i, run in enumerate(polled[:4]):
        step = math.ceil(len(run.watts_over_time) / MOST_POINTS)
        series.append(Curve(f"run {i + 1}", run.watts_over_time[::step]))
    return charts.curves("Power over time", series, "seconds", "W")


def _placement(cell: CellResult) -> Markup | None:
    placed = cell.placement
    if placed is None:
        return None
    nodes = ", ".join(f"{name} {counted(n, 'node')}" for name, n in placed.nodes.items())
    computed = ", ".join(f"{name} {count}" for name, count in placed.precisions.items())
    lines = [("ran on", nodes), ("computed in", computed)]
    if placed.memcpy_nodes:
        lines.append(("copies between host and device", str(placed.memcpy_nodes)))
    elsewhere = [
        f"{n.get('node', '')} ({n.get('op', '')}) on {n.get('provider', '')}"
        for n in placed.fallback
    ]
    if elsewhere:
        lines.append(("elsewhere than asked", first_of(elsewhere, 12)))
    return join(tag("h4", "Where its nodes ran"), _listed(lines))


def _runs(cell: CellResult) -> Markup | None:
    if not cell.runs:
        return None
    aside = [run.set_aside for run in cell.runs if not run.counts]
    peak = [run.peak_mib for run in cell.runs if run.peak_mib is not None]
    lines = [("runs", f"{len(cell.runs) - len(aside)} that count, {len(aside)} set aside")]
    lines += [("set aside", why) for why in dict.fromkeys(aside)]
    if peak:
        lines.append(("peak memory", f"{short(min(peak))} to {short(max(peak))} MiB"))
    if cell.recorded:
        first, last = cell.recorded[0].recorded[:10], cell.recorded[-1].recorded[:10]
        span = first if first == last else f"{first} to {last}"
        lines.append(("baseline", f"{counted(len(cell.recorded), 'recorded session')}, {span}"))
    probes = [run.probe_ms for run in cell.runs if run.probe_ms is not None]
    if probes:
        lines.append(
            ("the machine's own speed", f"{short(min(probes))} to {short(max(probes))} ms a probe")
        )
    return join(tag("h4", "What it was judged from"), _listed(lines))


def _facts(cell: CellResult) -> Markup:
    named = sorted(cell.figures.items())
    figures = tag(
        "table",
        tag(
            "tbody",
            *(tag("tr", tag("th", k, scope="row"), tag("td", short(v, 6))) for k, v in named),
        ),
        class_="data",
    )
    tests = tag(
        "ul",
        *(
            tag("li", f"{test.outcome}: {test.test} ({test.duration_s:.1f} s)", _not_asked(test))
            for test in cell.tests
        ),
    )
    ran = [("environment", cell.environment), *sorted(cell.ran.items())]
    if cell.artifact:
        ran.append(("artifact, SHA-256", cell.artifact))
    return tag(
        "details",
        tag("summary", "All figures, versions and tests"),
        tag("div", tag("div", figures, class_="scroll"), _listed(ran), tests, class_="facts"),
    )


def _not_asked(test: TestResult) -> str:
    return f": not asked, {test.not_asked}" if test.not_asked else ""


def _brief(test: TestResult) -> str:
    return test.test.rpartition("::")[2].partition("[")[0] or test.test


def _listed(pairs: Sequence[tuple[str, object]]) -> Markup:
    return tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in pairs))
