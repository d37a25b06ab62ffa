"""Measurement x baseline x budget -> judgement.

Pure: takes numbers, gives a verdict with its interval and a sentence a person can act on. Knows
neither pytest nor files nor the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from pytest_inferbench.judge.statistics import Interval
from pytest_inferbench.settings.budgets import Budget


class Verdict(str, Enum):
    """What can be said of a measurement."""

    PASS = "pass"
    IMPROVED = "improved"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"

    @property
    def is_reached(self) -> bool:
        """Whether it says something: inconclusive and missing do not."""
        return self not in (Verdict.INCONCLUSIVE, Verdict.MISSING)


PASSING = frozenset({Verdict.PASS.value, Verdict.IMPROVED.value})
"""The words of those that are within the budget."""

_WORST_FIRST = (
    Verdict.REGRESSED,
    Verdict.INCONCLUSIVE,
    Verdict.MISSING,
    Verdict.PASS,
    Verdict.IMPROVED,
)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the verdict that speaks for all of them."""
    return min(verdicts, key=_WORST_FIRST.index)


@dataclass(frozen=True)
class Judgement:
    """A verdict with everything that it was made from.

    Attributes:
        code: The stable code of the message.
        value: The measured figure, in `unit`.
        baseline: What it was compared with, in `unit`; None for absolute budgets.
        change: The change against the baseline as a fraction, with its bounds; None if absolute.
        smallest_visible: The smallest change, as a fraction, that would have been called regressed.
        detail: Where the figures come from and what to do next.
    """

    metric: str
    verdict: Verdict
    code: str
    value: float
    unit: str
    budget: str
    baseline: float | None = None
    change: Interval | None = None
    smallest_visible: float | None = None
    detail: str = ""


def judge_absolute(budget: Budget, value: float, detail: str = "") -> Judgement:
    """Judge a figure that has no noise of its own: cosine, mAP, growth of memory.

    A figure that is not finite is a regression, whatever the limit.
    """
    passed = math.isfinite(value) and budget.holds(value)
    return Judgement(
        metric=budget.metric,
        verdict=Verdict.PASS if passed else Verdict.REGRESSED,
        code="IB-600" if passed else "IB-601",
        value=value,
        unit=budget.unit,
        budget=budget.text,
        detail=detail,
    )


def unjudged(
    budget: Budget, verdict: Verdict, code: str, detail: str, value: float = math.nan
) -> Judgement:
    """Return what is said of a budget where nothing can be concluded, with or without a figure.

    Args:
        budget: What would have been judged.
        verdict: Inconclusive or missing.
        code: The code of the message.
        detail: Why, and what to do.
        value: The figure, where there is one.
    """
    return Judgement(
        metric=budget.metric,
        verdict=verdict,
        code=code,
        value=value,
        unit=budget.unit,
        budget=budget.text,
        detail=detail,
    )


def judge_drop(budget: Budget, drop: float, low: float, detail: str = "") -> Judgement:
    """Judge what a score lost on a data set, with the interval over other draws of its samples.

    A deterministic model loses the same whenever it is asked, so within the budget is a pass. A
    loss beyond it is a regression where the interval shows a loss at all; where no loss is in the
    interval too, other samples could have spoken for the model, and it is luck as likely.

    Args:
        budget: What may be lost.
        drop: What was lost; not finite is a regression.
        low: The interval's lower bound.
        detail: What to say beside it.
    """
    judgement = judge_absolute(budget, drop, detail)
    if judgement.verdict is Verdict.PASS or not low <= 0 < drop < math.inf:
        return judgement
    return replace(judgement, verdict=Verdict.INCONCLUSIVE, code="IB-460")


def samples_to_tell(samples: int, drop: float, low: float) -> int:
    """Return about how many samples like these would tell a drop from none.

    The interval's half width falls with the square root of the samples.
    """
    return math.ceil(samples * ((drop - low) / drop) ** 2)
