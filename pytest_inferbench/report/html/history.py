"""The page of a history: takes it, gives one HTML file in the style of the report. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pytest_inferbench.report.history import FIGURES, History, Series, Step, Track, summary, told
from pytest_inferbench.report.html import about, frame, words
from pytest_inferbench.report.html.frame import WIDTH, dot, label, line
from pytest_inferbench.report.html.markup import Markup, join, number, tag
from pytest_inferbench.report.html.page import document
from pytest_inferbench.report.html.scale import Scale, scale_of, short
from pytest_inferbench.report.messages import counted, percent
from pytest_inferbench.report.parts import FAILING

MOST_DRAWN = 400
"""Cells that are drawn; of more, those with change points come first, and the rest is said."""

MOST_CHANGES = 200
"""Change points in the table on top."""

MOST_ROWS = 120
"""Moments in the table below a drawing: the newest."""


def history_page(history: History) -> str:
    """Return the page."""
    found = summary(history)
    tracks = sorted(history.tracks.values(), key=lambda track: (-track.steps, track.name))
    drawn = tracks[:MOST_DRAWN]
    sections = [_track(track, unfolded=i < 3 or len(tracks) <= 12) for i, track in enumerate(drawn)]
    rest = len(tracks) - len(drawn)
    left = f"{counted(rest, 'more cell')} without room here: give a folder with fewer results."
    steps = sum(track.steps for track in tracks)
    headline = "History" if not history.searched else f"History: {counted(steps, 'change point')}"
    main = join(
        tag("section", tag("h1", headline), tag("p", found), class_="summary"),
        _faults(history.faults),
        _changes(tracks),
        tag(
            "section",
            tag("h2", "Each cell"),
            *sections,
            tag("p", left, class_="quiet") if rest > 0 else None,
            id="each",
        ),
    )
    toggle = tag("button", "Dark", type="button", id="theme", class_="script", aria_pressed="false")
    top = tag("header", tag("p", "Inference gate", class_="brand"), tag("p", found), toggle)
    return document(f"{headline} - inference gate", join(top, tag("main", main, id="main")))


def _faults(faults: Sequence[str]) -> Markup | None:
    if not faults:
        return None
    listed = tag("ul", *(tag("li", fault) for fault in faults))
    return tag("section", tag("h2", "Could not be read, and is missing below"), listed)


def _changes(tracks: Sequence[Track]) -> Markup | None:
    rows = [
        (
            words.moment(series.moments[step.index].recorded),
            track.name,
            FIGURES[series.figure],
            percent(step.change),
            short(step.before),
            short(step.after),
            series.moments[step.index].commit,
        )
        for track, series, step in _newest(tracks)
    ]
    if not rows:
        return None
    columns = ("since", "cell", "figure", "change", "before", "since then", "commit")
    return tag(
        "section", tag("h2", "Change points"), about.simple_table(columns, rows), id="changes"
    )


def _newest(tracks: Sequence[Track]) -> list[tuple[Track, Series, Step]]:
    every = [
        (track, series, step)
        for track in tracks
        for series in track.series.values()
        for step in series.steps
    ]
    every.sort(key=lambda found: found[1].moments[found[2].index].recorded, reverse=True)
    return every[:MOST_CHANGES]


def _track(track: Track, *, unfolded: bool) -> Markup:
    drawn = [timeline(series) for series in track.series.values()]
    steps = f"{counted(track.steps, 'change point')}" if track.steps else ""
    title = tag("summary", tag("h3", track.name), " ", tag("span", steps, class_="quiet"))
    body = tag("div", tag("div", *drawn, class_="figures"), class_="body")
    return tag("details", title, body, class_="cell", open=unfolded)


def timeline(series: Series) -> Markup:
    """Return a figure session by session, with its change points.

    Sessions stand equally far apart, however long lay between them.
    """
    values = series.values
    x = Scale(0, max(1, len(values) - 1), 48, WIDTH - 12)
    y = scale_of(values, 136, 24)
    parts = [frame.beside(y, 48, x.end, "", 4)]
    for start, stop, mean in _levels(series):
        parts.append(line(x(start), y(mean), x(stop), y(mean), "base"))
    parts += [line(x(s.index - 0.5), 20, x(s.index - 0.5), 136, "limit") for s in series.steps]
    parts += [
        label(x(s.index - 0.5), 14, percent(s.change), "limit", "middle") for s in series.steps
    ]
    points = " ".join(f"{number(x(i))},{number(y(v))}" for i, v in enumerate(values))
    parts.append(tag("polyline", points=points, class_="curve c0"))
    if len(values) <= 80:
        parts += [
            dot(
                x(i),
                y(m.value),
                "regressed" if m.verdict in FAILING else "now",
                2.6,
            )
            for i, m in enumerate(series.moments)
        ]
    first, last = (words.moment(series.moments[i].recorded) for i in (0, -1))
    parts.append(label(48, 152, first, "tick"))
    if len(values) > 1:
        parts.append(label(x.end, 152, last, "tick", "end"))
    title = FIGURES[series.figure]
    said = f"{title}, {counted(len(values), 'session')}: {short(values[0])} to {short(values[-1])}."
    said += "".join(f" {told(series, step)}." for step in series.steps)
    rows = [
        (moment.recorded, short(moment.value), moment.verdict, moment.commit)
        for moment in series.moments[-MOST_ROWS:]
    ]
    return frame.figure(
        title,
        frame.drawing(said, 160, *parts),
        ("session", title, "verdict", "commit"),
        rows,
        "; ".join(told(series, step) for step in series.steps),
    )


def _levels(series: Series) -> list[tuple[float, float, float]]:
    """Return the stretches between change points with their means."""
    edges = [0, *(step.index for step in series.steps), len(series.values)]
    if len(edges) < 3:
        return []
    return [
        (start, stop - 1, sum(series.values[start:stop]) / (stop - start))
        for start, stop in pairwise(edges)
        if stop > start
    ]
