"""The table of `gate_quality.py`: takes recorded sessions, gives Markdown with every interval."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from scipy.stats import binomtest

from pytest_inferbench.hardware import detect
from quality.models import BLOCKS, SLOWER
from quality.peers import PEERS
from quality.sessions import Session


class Asked(Protocol):
    """A scenario, as `gate_quality.py` has them."""

    name: str
    slower: str
    threads: tuple[int, ...]
    loaded: bool
    sessions: int


Rate = tuple[str, Callable[[Session], bool]]

_RED: Rate = ("red", lambda s: s.verdict == "regressed")
_FOUND: Rate = ("found", lambda s: s.verdict == "regressed")
_EQUAL: Rate = ("passed as equal", lambda s: s.verdict in ("pass", "improved"))
_SILENT: Rate = ("inconclusive", lambda s: s.verdict == "inconclusive")

# scenario -> which rate, at most or at least what
_TARGETS: dict[str, tuple[tuple[Rate, str, float], ...]] = {
    "aa": ((_RED, "=", 0.0), (_SILENT, "<=", 0.10)),
    "aa-loaded": ((_RED, "=", 0.0),),
    "plus5": ((_FOUND, ">=", 0.95), (_SILENT, "<=", 0.10)),
    "plus10-loaded-1": ((_FOUND, ">=", 0.95),),
    "plus10-loaded-all": ((_EQUAL, "<=", 0.05), (_SILENT, "", 0.0)),
}
_SECONDS_TARGET = 20.0


def markdown(scenarios: Sequence[Asked], recorded: Mapping[str, Sequence[Session]]) -> str:
    """Return the page: targets and what was seen, the peers, and how it was done."""
    parts = [_HEAD.format(machine=_machine(), blocks=BLOCKS, plus5=SLOWER["+5%"] - BLOCKS)]
    parts.append(_targets(scenarios, recorded))
    parts.append(_peers(scenarios, recorded))
    parts.append(_changes(scenarios, recorded))
    return "\n".join(parts)


_HEAD = """# How often the gate is wrong

Made by `benchmarks/gate_quality.py`; do not edit. {machine}

A session compares two builds by the code of `--inferbench-against-model`: fresh workers each round,
interleaved bursts, roles drawn at random, a budget of +2.5 % on p5 and at most 60 s. The model is a
stack of {blocks} equal convolutions on ONNX Runtime; the slower builds have {plus5} or twice as
many more of them. *Beside a load*: another process spins on every core. Intervals are 95 %
(Clopper-Pearson).
"""


def _machine() -> str:
    return (
        f"Recorded on {detect().cpu} ({os.cpu_count()} CPUs), Python {platform.python_version()},"
        f" last on {time.strftime('%Y-%m-%d', time.gmtime())}."
    )


def _targets(scenarios: Sequence[Asked], recorded: Mapping[str, Sequence[Session]]) -> str:
    lines = ["## Targets", "", "| sessions | what | target | seen |", "|---|---|---|---|"]
    for scenario in scenarios:
        sessions = recorded[scenario.name]
        for (what, holds), sign, limit in _TARGETS[scenario.name]:
            wanted = "none" if sign == "=" else f"{sign} {limit:.0%}" if sign else ""
            seen = _rate(sum(map(holds, sessions)), len(sessions))
            lines.append(f"| {_title(scenario)} | {what} | {wanted} | {seen} |")
        seconds = [session.seconds for session in sessions]
        if seconds:
            wanted = f"<= {_SECONDS_TARGET:.0f} s"
            seen = f"{statistics.median(seconds):.1f} s (longest {max(seconds):.0f} s)"
            lines.append(f"| {_title(scenario)} | median time to a verdict | {wanted} | {seen} |")
    missing = [
        f"{_title(each)}: {len(recorded[each.name])} of {each.sessions}"
        for each in scenarios
        if len(recorded[each.name]) < each.sessions
    ]
    if missing:
        lines += ["", f"Not all sessions are recorded yet: {'; '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _peers(scenarios: Sequence[Asked], recorded: Mapping[str, Sequence[Session]]) -> str:
    """How often each rule calls the second build slower, on the same samples."""
    lines = [
        "## Peers, on the same samples",
        "",
        "How often each rule calls the second build slower. *All*: given all samples of a session,"
        " interleaved as they are; asv and google-benchmark take the mean of a burst as a sample."
        " *One*: given those of the first pair of launches, as their users would have.",
        "",
        "| rule | samples | " + " | ".join(_title(each) for each in scenarios) + " |",
        "|---|---|" + "---|" * len(scenarios),
    ]
    ours = [
        _rate(sum(map(_RED[1], recorded[each.name])), len(recorded[each.name]))
        for each in scenarios
    ]
    lines.append("| **this gate**, p5 `+2.5%` | all | " + " | ".join(ours) + " |")
    for rule, is_slower in PEERS.items():
        for which in ("all", "one"):
            cells = []
            for each in scenarios:
                sessions = recorded[each.name]
                red = [
                    is_slower(s.pooled, s.means)
                    if which == "all"
                    else is_slower(s.first, s.first_means)
                    for s in sessions
                ]
                cells.append(_rate(sum(red), len(sessions)))
            lines.append(f"| {rule} | {which} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _changes(scenarios: Sequence[Asked], recorded: Mapping[str, Sequence[Session]]) -> str:
    """The change that the rounds of all sessions point at, and how they scatter."""
    lines = [
        "## What the rounds showed",
        "",
        "The change of p5 that all rounds of a scenario point at: the slower builds' real cost, and"
        " no change for equal ones. The scatter is that of one round (1.48 times the median"
        " deviation).",
        "",
        "| sessions | threads | rounds | change | scatter | inconclusive | passed | red |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scenario in scenarios:
        for threads in scenario.threads:
            sessions = [s for s in recorded[scenario.name] if s.threads == threads]
            logs = [log for session in sessions for log in session.logs["p5"]]
            if not logs:
                continue
            middle = statistics.median(logs)
            scatter = 1.4826 * statistics.median(abs(log - middle) for log in logs)
            counts = [
                sum(holds(session) for session in sessions) for _, holds in (_SILENT, _EQUAL, _RED)
            ]
            lines.append(
                f"| {_title(scenario)} | {threads or 'every core'} | {len(logs)} |"
                f" {math.expm1(middle):+.2%} | {scatter:.2%} |"
                f" {' | '.join(map(str, counts))} |"
            )
    return "\n".join(lines) + "\n"


def _title(scenario: Asked) -> str:
    what = "equal builds" if scenario.slower == "+0%" else scenario.slower.replace("%", " %")
    threads = {(1,): ", one thread", (0,): ", every core"}.get(scenario.threads, "")
    return f"{what}{threads}, {'beside a load' if scenario.loaded else 'as it is'}"


def _rate(count: int, total: int) -> str:
    if not total:
        return "not recorded"
    interval = binomtest(count, total).proportion_ci(0.95, "exact")
    return f"{count} of {total} ({interval.low:.1%} to {interval.high:.1%})"
