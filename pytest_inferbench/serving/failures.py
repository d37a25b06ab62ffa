"""Requests that failed: takes a budget and bursts of load, gives a judgement. Pure.

Failed requests are left out of times and throughput, so these say nothing where many failed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_inferbench.judge.verdict import Judgement, Verdict, judge_absolute
from pytest_inferbench.settings.metrics import FAILURES

if TYPE_CHECKING:
    from pytest_inferbench.serving.runs import Burst
    from pytest_inferbench.settings.budgets import Budget


@dataclass(frozen=True)
class Failed:
    """How many requests were asked, and how many of them failed, by reason."""

    asked: int
    by_reason: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many failed."""
        return sum(self.by_reason.values())

    @property
    def share(self) -> float:
        """The share that failed; 0 where nothing was asked."""
        return self.count / self.asked if self.asked else 0.0

    def __str__(self) -> str:
        return f"{self.count} of {self.asked} requests failed; {self.reasons}"

    @property
    def reasons(self) -> str:
        """Each reason with its number, the most frequent first."""
        ordered = sorted(self.by_reason.items(), key=lambda item: -item[1])
        return "; ".join(f"{count} of {reason}" for reason, count in ordered)


def failed_in(bursts: Iterable[Burst]) -> Failed:
    """Add up what failed in bursts."""
    asked, by_reason = 0, Counter[str]()
    for burst in bursts:
        asked += burst.requests
        by_reason.update(burst.failures)
    return Failed(asked, dict(by_reason))


def judge_failures(budget: Budget, failed: Failed, metric: str = FAILURES) -> Judgement:
    """Judge the share that failed: none is left out of what was asked."""
    judged = judge_absolute(budget, failed.share, failed.reasons)
    if judged.verdict is Verdict.REGRESSED:
        judged = dataclasses.replace(judged, code="IB-850", detail=str(failed))
    return dataclasses.replace(judged, metric=metric)


def beside_failing(judgement: Judgement, partner: Failed, label: str) -> Judgement:
    """Return what can be said of a comparison with a server that failed requests: nothing."""
    return dataclasses.replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        code="IB-856",
        detail=f"{label} answers too few to compare with: {partner}",
    )
