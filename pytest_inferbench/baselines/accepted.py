"""Whether a session that is recorded is worse than the one before: an accepted regression. Pure.

Takes two sessions and a model's budgets; gives what is kept of it, and the line a person reads.
This is no verdict: whoever records has decided, and what is kept is what they decided, and why.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_inferbench.baselines.schema import Acceptance, Session
from pytest_inferbench.judge.statistics import log_median
from pytest_inferbench.report.messages import percent
from pytest_inferbench.settings.budgets import Budget

GATED = ("p5", "p50", "p90", "p99", "mean", "memory", "cold_start")
"""The metrics that may have a budget against the baseline."""


@dataclass(frozen=True)
class Comparison:
    """A session beside the one before it.

    Attributes:
        acceptance: What it is worse in, None if within every budget.
        line: What is said of it; empty if nothing is.
    """

    acceptance: Acceptance | None = None
    line: str = ""


def compared(
    before: Session, now: Session, budgets: Mapping[str, Budget | None], same_speed: float
) -> Comparison:
    """Compare a session with the one before it.

    Args:
        before: The newest that is recorded.
        now: The one to record.
        budgets: Metric -> its budget; absolute ones and None do not speak of a baseline.
        same_speed: As in the settings: beyond it the machine itself is slower, and nothing is said
            of the model.
    """
    worse: dict[str, float] = {}
    for metric in GATED:
        budget, old, new = budgets.get(metric), before.runs_of(metric), now.runs_of(metric)
        if budget is None or budget.kind != "relative" or not old or not new:
            continue
        change = math.expm1(log_median(new) - log_median(old))
        if change > budget.limit:
            worse[metric] = float(f"{change:.4g}")
    if not worse:
        return Comparison()
    slower = _slower(before, now)
    figures = ", ".join(
        f"{metric} {percent(change)} (budget {budget.text})"
        for metric, change in worse.items()
        if (budget := budgets[metric]) is not None
    )
    if slower > same_speed:
        return Comparison(
            line=f"slower than the session before, as the machine itself is ({percent(slower)} in"
            f" time), so it counts as no regression: {figures}"
        )
    why = (
        f"reason {quoted(now.reason)}"
        if now.reason
        else "no reason given: next time say it with --inferbench-reason '...'"
    )
    acceptance = Acceptance(recorded=now.recorded, reason=now.reason, worse=worse)
    return Comparison(acceptance, f"accepted: {figures}, {why}")


def _slower(before: Session, now: Session) -> float:
    """How much longer the machine's own probe took, as a fraction; 0 where it was not recorded."""
    if not before.probe_ms or not now.probe_ms:
        return 0.0
    return statistics.median(now.probe_ms) / statistics.median(before.probe_ms) - 1


def quoted(reason: str) -> str:
    """Return a reason in quotation marks, on one line whatever it holds."""
    return json.dumps(reason, ensure_ascii=False)
