"""What stands round the cells: takes results, gives sections on sessions, serving, words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_inferbench.report.codes import meanings
from pytest_inferbench.report.document import Results, SessionResult
from pytest_inferbench.report.html import words
from pytest_inferbench.report.html.markup import Markup, join, tag
from pytest_inferbench.report.html.references import Reference
from pytest_inferbench.report.html.scale import short
from pytest_inferbench.report.html.table import session_names
from pytest_inferbench.report.messages import counted, first_of, percent
from pytest_inferbench.report.parts import CoverageResult, StudyResult

MOST_SESSIONS = 40
"""Sessions that are told in full; of more the others have a line."""


def notices(results: Results) -> Markup | None:
    """Return what is unmet of what was required, what else failed a session, and notices."""
    lines = [tag("li", words.badge("failed"), f" left out: {why}") for why in results.left_out]
    names = session_names(results)
    for session, name in zip(results.sessions, names, strict=True):
        before = f"{name}: " if len(results.sessions) > 1 else ""
        lines += [
            tag("li", words.badge("failed"), f" {before}required {r.expression!r}: {r.unmet}")
            for r in session.requirements
            if r.unmet
        ]
        lines += [tag("li", words.badge("failed"), f" {before}{text}") for text in session.problems]
    problems = {text for session in results.sessions for text in session.problems}
    lines += [tag("li", text) for text in results.notices if text not in problems]
    if not lines:
        return None
    return tag("section", tag("h2", "Said at the end"), tag("ul", *lines), id="notices")


def serving(studies: Sequence[StudyResult]) -> Markup | None:
    """Return the variants of each model under load."""
    parts = []
    for study in studies:
        columns = ("variant", "a second", "gain", "p50 ms", "p95 ms", "p99 ms", "failed", "")
        rows = []
        for each in study.variants:
            said = "; ".join(
                [*(["best"] if each.best else []), *each.missed, *filter(None, [each.decision])]
            )
            rows.append(
                (
                    each.backend,
                    _short(each.per_s),
                    "" if each.gain is None else percent(each.gain),
                    *(_short(each.latency_ms.get(name)) for name in ("p50", "p95", "p99")),
                    str(sum(each.failures.values())) if each.measured else "not measured",
                    said,
                )
            )
        title = f"{study.model} at {study.precision}, {counted(study.clients, 'client')}"
        limits = ", ".join(f"{name} {text}" for name, text in study.objectives.items())
        parts += [
            tag("h3", title),
            tag("p", f"Objectives: {limits}", class_="quiet") if limits else None,
            simple_table(columns, rows),
        ]
    return tag("section", tag("h2", "Serving"), *parts, id="serving") if parts else None


def onnx_ops(covered: Sequence[CoverageResult]) -> Markup | None:
    """Return how ONNX's own cases ended."""
    if not covered:
        return None
    outcomes = list(dict.fromkeys(name for each in covered for name in each.outcomes))
    rows = [
        (each.cell, each.version, *(str(each.outcomes.get(name, 0)) for name in outcomes))
        for each in covered
    ]
    named = [
        tag("li", f"{each.cell}, {verdict}: {first_of(cases, 20)}")
        for each in covered
        for verdict, cases in each.cases.items()
        if verdict in ("regressed", "improved", "failed")
    ]
    return tag(
        "section",
        tag("h2", "ONNX's own cases"),
        simple_table(("cell", "runtime", *outcomes), rows),
        tag("ul", *named) if named else None,
        id="onnx-ops",
    )


def published(references: Sequence[Reference]) -> Markup | None:
    """Return figures of others, said to be that."""
    if not references:
        return None
    names = list(dict.fromkeys(name for each in references for name in each.figures))
    rows = [
        (
            each.model,
            each.backend,
            each.precision,
            each.hardware,
            *(each.figures.get(name, "") for name in names),
            each.source,
        )
        for each in references
    ]
    return tag(
        "section",
        tag("h2", "Published elsewhere, not measured here"),
        tag("p", "For comparison by eye. No verdict is made from them.", class_="quiet"),
        simple_table(("model", "backend", "precision", "hardware", *names, "source"), rows),
        id="published",
    )


def sessions(results: Results) -> Markup:
    """Return where and when everything was measured."""
    names = session_names(results)
    told = [
        _session(session, name, unfolded=len(results.sessions) == 1)
        for session, name in zip(results.sessions[:MOST_SESSIONS], names, strict=False)
    ]
    rest = results.sessions[MOST_SESSIONS:]
    if rest:
        rows = [
            (name, session.recorded, session.inferbench, str(session.host.get("cpu", "")))
            for name, session in zip(names[MOST_SESSIONS:], rest, strict=True)
        ]
        told.append(simple_table(("session", "ended", "inferbench", "CPU"), rows))
    return tag("section", tag("h2", "Environment"), *told, id="environment")


def glossary(codes: Sequence[str], verdicts: Sequence[str]) -> Markup:
    """Return what the verdicts and codes of this page mean."""
    rows = [
        tag("tr", tag("td", words.badge(verdict)), tag("td", words.MEANINGS[verdict]))
        for verdict in words.SIGNS
        if verdict in verdicts
    ]
    rows += [
        tag(
            "tr",
            tag("th", code, scope="row"),
            tag("td", meanings().get(code, "see docs/verdicts.md")),
            id=f"code-{code}",
        )
        for code in codes
    ]
    return tag(
        "section",
        tag("h2", "Words and codes"),
        tag("div", tag("table", tag("tbody", *rows), class_="glossary"), class_="scroll"),
        tag(
            "p",
            "How each verdict is reached is told in docs/verdicts.md of pytest-inferbench.",
            class_="quiet",
        ),
        id="words",
    )


def simple_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """Return a table whose first column names its rows; it scrolls by itself where it is wide."""
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", each) for each in row[1:]))
        for row in rows
    ]
    head = tag("tr", *(tag("th", each, scope="col") for each in columns))
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="simple")
    return tag("div", table, class_="scroll", tabindex="0")


def _session(session: SessionResult, name: str, *, unfolded: bool) -> Markup:
    git = session.git
    pairs: list[tuple[str, object]] = [
        ("ended", session.recorded),
        ("pytest-inferbench", session.inferbench),
        ("command", " ".join(("pytest", *session.command))),
    ]
    if git is not None:
        dirty = ", with uncommitted changes" if git.dirty else ""
        pairs.append(("commit", f"{git.commit} {git.branch}".strip() + dirty))
    pairs += [(key, _joined(value)) for key, value in session.host.items() if value]
    pairs += [(key, text) for key, text in session.settings.items()]
    pairs += [(f"option {key}", text) for key, text in session.options.items()]
    parts = [tag("dl", *(join(tag("dt", key), tag("dd", value)) for key, value in pairs))]
    for label, each in session.environments.items():
        facts = [("Python", each.python), ("host", each.host), ("CPU", each.cpu)]
        facts += [("GPUs", ", ".join(each.gpus)), ("unreachable", each.unreachable)]
        facts += sorted(each.distributions.items())
        shown = [join(tag("dt", k), tag("dd", v)) for k, v in facts if v]
        parts.append(join(tag("h4", f"Workers of {label}"), tag("dl", *shown)))
    return tag("details", tag("summary", tag("h3", name)), *parts, open=unfolded)


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _short(value: float | None) -> str:
    return "" if value is None else short(value)
