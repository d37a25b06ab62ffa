"""Figures over time: takes results of many sessions, gives one series a cell and figure. Pure.

A session that two documents hold counts once. A step is what a change-point program says of a
series (`report/change_points.py`); nothing here decides what is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_inferbench.report.document import CellResult, Results, SessionResult
from pytest_inferbench.report.messages import counted, percent
from pytest_inferbench.report.scores import SCORES

EXACT = ("map", "top1", "miou", "wer", "recall_at_k", "mask_iou", "token_agreement", "cosine")
"""Figures without noise of a machine: every step of them counts, however small."""

FIGURES = {
    "p5_ms": "p5, ms",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "per_s": "inferences a second",
    "peak_mib": "peak memory, MiB",
    "device_peak_mib": "device memory, MiB",
    "watts": "power, W",
    **{name: SCORES[name] for name in EXACT},
}
"""What is followed: figure -> its title."""

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Moment:
    """A figure of one session."""

    recorded: str
    session: str
    value: float
    verdict: str
    commit: str = ""


@dataclass(frozen=True)
class Step:
    """Where a series changes: between the moment before `index` and that at it.

    Attributes:
        before: The mean until then; `after` is the mean from then on.
        p_value: How likely so large a difference would be without one.
    """

    index: int
    before: float
    after: float
    p_value: float

    @property
    def change(self) -> float:
        """The change as a fraction; infinite where there was nothing before."""
        return self.after / self.before - 1 if self.before else math.copysign(math.inf, self.after)


@dataclass
class Series:
    """One figure of one cell, oldest first."""

    figure: str
    moments: list[Moment] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def values(self) -> list[float]:
        """Its numbers."""
        return [moment.value for moment in self.moments]


@dataclass
class Track:
    """All figures of one cell."""

    name: str
    model: str
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps all its figures have."""
        return sum(len(each.steps) for each in self.series.values())


@dataclass
class History:
    """Everything that was read.

    Attributes:
        tracks: A cell's name -> its figures.
        sessions: When each session ended, by its id.
        faults: What could not be read, a sentence each.
        searched: What looked for steps, with its version; empty where nothing did.
    """

    tracks: dict[str, Track] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    searched: str = ""

    def add(self, results: Results) -> None:
        """Take in what a document tells, and no more of it than its figures."""
        known = set(self.sessions)
        for session in results.sessions:
            self.sessions.setdefault(session.id, session.recorded)
        for cell in results.cells:
            session = results.session_of(cell)
            if session.id not in known:
                self._add_cell(cell, session)

    def _add_cell(self, cell: CellResult, session: SessionResult) -> None:
        track = self.tracks.setdefault(str(cell), Track(str(cell), cell.model))
        for name in FIGURES:
            value = cell.figures.get(name, math.nan)
            if math.isfinite(value):
                track.series.setdefault(name, Series(name)).moments.append(
                    Moment(
                        recorded=session.recorded,
                        session=session.id,
                        value=value,
                        verdict=cell.verdict,
                        commit=session.git.commit[:10] if session.git else "",
                    )
                )

    def sort(self) -> None:
        """Put every series in the order of time, and forget cells without any."""
        self.tracks = {name: track for name, track in sorted(self.tracks.items()) if track.series}
        for series in self.all_series():
            series.moments.sort(key=lambda moment: moment.recorded)

    def all_series(self) -> Iterator[Series]:
        """Yield every series, in the order of the tracks."""
        for track in self.tracks.values():
            yield from track.series.values()


def lines(history: History) -> list[str]:
    """Return it as text: a line a figure, its steps below."""
    said = [summary(history)]
    for track in history.tracks.values():
        said += ["", track.name]
        wide = max(len(FIGURES[name]) for name in track.series)
        for name, series in track.series.items():
            first, last = series.values[0], series.values[-1]
            over = f"{first:.4g} -> {last:.4g}" if len(series.values) > 1 else f"{last:.4g}"
            said.append(f"  {FIGURES[name]:<{wide}}  {sparkline(series.values)}  {over}")
            said += [f"    {told(series, step)}" for step in series.steps]
    return said


def summary(history: History) -> str:
    """Return in a line what was read, and what was found."""
    times = sorted(history.sessions.values())
    text = f"{counted(len(times), 'session')}, {counted(len(history.tracks), 'cell')}"
    if times:
        text += f", {times[0][:10]} to {times[-1][:10]}"
    if not history.searched:
        return text + "; change points were not looked for"
    steps = sum(track.steps for track in history.tracks.values())
    return f"{text}; {counted(steps, 'change point')} by {history.searched}"


def told(series: Series, step: Step) -> str:
    """Return a step in words."""
    moment = series.moments[step.index]
    commit = f", commit {moment.commit}" if moment.commit else ""
    return (
        f"{percent(step.change)} from {moment.recorded[:16].replace('T', ' ')}:"
        f" {step.before:.4g} before, {step.after:.4g} since (p {step.p_value:.2g}){commit}"
    )


def sparkline(values: list[float], width: int = 40) -> str:
    """Return a series in one line; of a long one each bar is the mean of several."""
    size = math.ceil(len(values) / width) or 1
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    if not math.isfinite(high - low):  # no figure of a gate: a bar each would say nothing
        return _BARS[0] * len(means)
    if high - low <= 1e-9 * abs(high):
        return _BARS[0] * len(means)
    return "".join(_BARS[round((v - low) / (high - low) * (len(_BARS) - 1))] for v in means)


def plain(history: History) -> dict[str, object]:
    """Return it as plain types, for programs."""
    return {
        "sessions": len(history.sessions),
        "searched": history.searched,
        "faults": history.faults,
        "cells": {
            track.name: {
                name: {
                    "recorded": [moment.recorded for moment in series.moments],
                    "values": series.values,
                    "verdicts": [moment.verdict for moment in series.moments],
                    "steps": [
                        {
                            "index": step.index,
                            "recorded": series.moments[step.index].recorded,
                            "before": step.before,
                            "after": step.after,
                            "p_value": step.p_value,
                        }
                        for step in series.steps
                    ],
                }
                for name, series in track.series.items()
            }
            for track in history.tracks.values()
        },
    }
