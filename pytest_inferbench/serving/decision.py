"""What is to be done with a server: takes figures of its runs and a ladder, gives a word. Pure.

A ladder is words in order, each with objectives: `ship = { p95 = "30 ms" }`, then `acceptable`,
then what is said otherwise. The decision is the first word whose objectives all hold. Objectives
are judged by the runs' interval, so one near its limit decides nothing: then the decision is the
next word that surely holds, and the better ones that more runs might bring are named.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pytest_inferbench.judge.rates import judge_rate_objective
from pytest_inferbench.judge.runs import judge_objective
from pytest_inferbench.judge.verdict import Judgement, Verdict, judge_absolute, unjudged
from pytest_inferbench.settings.budgets import Budget

_POSSIBLE = (Verdict.PASS, Verdict.INCONCLUSIVE)


@dataclass(frozen=True)
class Rung:
    """One word, and the absolute limits that must all hold for it, by the figures' names."""

    word: str
    objectives: Mapping[str, Budget]


@dataclass(frozen=True)
class Ladder:
    """Words from the best to the worst; `otherwise` is said where no rung holds."""

    rungs: tuple[Rung, ...]
    otherwise: str


@dataclass(frozen=True)
class Decision:
    """What was decided, and why.

    Attributes:
        word: The best word that surely holds.
        might_be: Better words that the runs do not rule out, best first.
        judgements: Word -> the verdicts on its objectives, for every rung down to the decision.
    """

    word: str
    might_be: tuple[str, ...]
    judgements: Mapping[str, tuple[Judgement, ...]]

    def __str__(self) -> str:
        if not self.might_be:
            return self.word
        return f"{self.word} (or {' or '.join(self.might_be)}: too few runs to tell)"

    @property
    def reason(self) -> str:
        """What kept it from the next better word; empty for the best."""
        better = [word for word in self.judgements if word != self.word]
        if not better:
            return ""
        kept = [each for each in self.judgements[better[-1]] if each.verdict is not Verdict.PASS]
        return "; ".join(f"{_told(each)}, and {better[-1]} is {each.budget}" for each in kept)


DEFAULT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"ship": MappingProxyType({"p95": "30 ms"}), "acceptable": MappingProxyType({"p95": "50 ms"})}
)
"""The rungs that hold where the settings have none, as they would be written there."""


def ladder_of(decisions: Mapping[str, Mapping[str, Budget]], otherwise: str) -> Ladder:
    """Return the ladder of `[serving.decisions]` and `otherwise`, in the order written."""
    return Ladder(tuple(Rung(word, limits) for word, limits in decisions.items()), otherwise)


def decide(ladder: Ladder, figures: Mapping[str, Sequence[float]]) -> Decision:
    """Decide by the figures of several runs.

    Args:
        ladder: What may be said.
        figures: Name of an objective -> its figure in each run, in the objective's unit. One that
            is missing or is no number holds for no word.
    """
    judgements: dict[str, tuple[Judgement, ...]] = {}
    might_be: list[str] = []
    for rung in ladder.rungs:
        judged = tuple(
            dataclasses.replace(_judged(limit, figures.get(name, ())), metric=name)
            for name, limit in rung.objectives.items()
        )
        judgements[rung.word] = judged
        verdicts = [each.verdict for each in judged]
        if all(verdict is Verdict.PASS for verdict in verdicts):
            return Decision(rung.word, tuple(might_be), judgements)
        if all(verdict in _POSSIBLE for verdict in verdicts):
            might_be.append(rung.word)
    return Decision(ladder.otherwise, tuple(might_be), judgements)


def _told(judged: Judgement) -> str:
    if math.isnan(judged.value):
        return f"{judged.metric} was not measured"
    unit = "" if judged.unit in ("ratio", "value") else f" {judged.unit}"
    return f"{judged.metric} is {judged.value:.4g}{unit}"


def _judged(limit: Budget, runs: Sequence[float]) -> Judgement:
    """Judge one objective; what has no unit (a share of failures) by its worst run."""
    if not runs or not all(math.isfinite(run) for run in runs):
        detail = "not measured in every run"
        return unjudged(limit, Verdict.MISSING, "IB-880", detail)
    if limit.unit == "ratio" or min(runs) <= 0:
        extreme = min(runs) if limit.better == "higher" else max(runs)
        return judge_absolute(limit, extreme, f"the worst of {len(runs)} runs")
    judge = judge_rate_objective if limit.better == "higher" else judge_objective
    return judge(limit, runs)
