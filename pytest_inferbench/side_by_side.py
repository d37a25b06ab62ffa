"""What a test holds for two cells side by side: judgements from rounds, taken until they decide.

Takes a cell's run and its budgets; gives judgements and figures. The rounds are `comparing.py`'s,
the statistics `judge/rounds.py`'s.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_inferbench.baselines.differences import Difference, differences
from pytest_inferbench.comparing import METRICS, Comparison
from pytest_inferbench.handles import Handle
from pytest_inferbench.judge.rounds import explanation, judge_slowdown, judge_speedup
from pytest_inferbench.judge.verdict import Judgement, Verdict, unjudged
from pytest_inferbench.launches import STATISTICS
from pytest_inferbench.partners import NoPartnerError, partner_against, partner_of

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.partners import Partner
    from pytest_inferbench.settings.budgets import Budget

_EXPLAINED_BY = ("p5", "p50")
_AGAINST = "against"
UNDER_LOAD = "@"
"""Stands in the names of comparisons under load, before their number of clients."""


class Beside:
    """A cell beside what `--inferbench-against` names; all of its tests share the rounds."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def judgements(self, budgets: Sequence[Budget]) -> list[Judgement]:
        """Judge relative budgets, taking rounds until all are decided or one is broken."""
        try:
            comparison = comparison_of(self._run, _AGAINST, partner_against)
        except NoPartnerError as error:
            return [missing(budget, str(error)) for budget in budgets]
        comparisons = self._run.gate.comparisons
        judges = [
            functools.partial(_judge_slowdown, budget, comparison, comparisons)
            for budget in budgets
        ]
        judged = until_decided(comparison, judges, self._run.gate.settings.latency.compare_s)
        return [_explained(judgement, comparison) for judgement in judged]

    def figures(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return the figures of both sides that the rounds gave; none where there are none."""
        comparison = self._run.comparisons.get(_AGAINST)
        if comparison is None or not comparison.rounds:
            return {}
        units = {"memory": "peak_mib", "cold_start": "cold_start_ms"}
        figures = {}
        for metric in (each for each in metrics if each in METRICS):
            compared, name = comparison.compared(metric), units.get(metric, f"{metric}_ms")
            figures[name] = compared.value
            figures[f"against_{name}"] = compared.partner
        return {**figures, "rounds": len(comparison.rounds), "seconds": comparison.seconds}

    def differs(self) -> Sequence[Difference] | None:
        """Return what differs between the two sides; None where nothing does."""
        comparison = self._run.comparisons.get(_AGAINST)
        if comparison is None or not comparison.rounds:
            return None
        last = comparison.rounds[-1]
        found = differences(
            last.partner.versions, last.candidate.versions, comparison.artifacts_sha256
        )
        return found or None

    def context(self) -> Mapping[str, str]:
        """Say who the other side is, and what to do."""
        comparison = self._run.comparisons.get(_AGAINST)
        if comparison is None:
            return {}
        return {
            "compared with": comparison.label,
            "what to do": "find the cause, or raise the budget on purpose",
        }


class Speedup(Handle):
    """How many times as fast the cell is as others, each measured beside it."""

    kind = "speedup"

    @functools.cached_property
    def _judgements(self) -> list[Judgement]:
        cell, gate = self._run.cell, self._run.gate
        judged = []
        for asked in gate.settings.speedups(cell.model, cell.backend, cell.precision):
            find = functools.partial(partner_of, speedup=asked)
            try:
                comparison = comparison_of(self._run, "-".join(asked.partner), find)
            except NoPartnerError as error:
                judged.append(missing(asked.budget, str(error)))
                continue
            judge = functools.partial(_judge_speedup, asked.budget, comparison, gate.comparisons)
            judged += until_decided(comparison, [judge], gate.settings.latency.compare_s)
        return judged

    def judgements(self) -> list[Judgement]:
        """Judge each of the cell's speed-up budgets, taking rounds until it is decided."""
        return self._judgements

    def figures(self) -> dict[str, float]:
        """The factor over each partner."""
        return {
            f"speedup_over_{name}": math.exp(-comparison.compared("p50").centre)
            for name, comparison in self._run.comparisons.items()
            if name != _AGAINST and UNDER_LOAD not in name and comparison.rounds
        }


def _judge_slowdown(budget: Budget, comparison: Comparison, comparisons: int) -> Judgement:
    return judge_slowdown(budget, comparison.compared(budget.metric), comparisons)


def _judge_speedup(budget: Budget, comparison: Comparison, comparisons: int) -> Judgement:
    return judge_speedup(budget, comparison.compared("p50"), comparisons)


def comparison_of(
    run: CellRun,
    name: str,
    find: Callable[[CellRun], Partner],
    make: Callable[[CellRun, CellRun, str], Comparison] = Comparison,
) -> Comparison:
    """Return the cell's comparison of a name, made on first use.

    Raises:
        NoPartnerError: There is nobody to compare with.
    """
    if name not in run.comparisons:
        partner = find(run)
        run.comparisons[name] = make(partner.run, run, partner.label)
    return run.comparisons[name]


def until_decided(
    comparison: Comparison, judges: Sequence[Callable[[], Judgement]], most_s: float
) -> list[Judgement]:
    """Take rounds until nothing is inconclusive, or something has regressed."""
    judged: list[Judgement] = []

    def decided() -> bool:
        judged[:] = [judge() for judge in judges]
        verdicts = {each.verdict for each in judged}
        return Verdict.REGRESSED in verdicts or Verdict.INCONCLUSIVE not in verdicts

    if judges:
        comparison.until(decided, most_s, lambda: narrowed(judged))
    return [judge() for judge in judges]


def narrowed(judged: Sequence[Judgement]) -> str:
    """Return the interval that is still to narrow: of the first figure that is not decided."""
    waiting = [each for each in judged if each.verdict is Verdict.INCONCLUSIVE and each.change]
    if not waiting or waiting[0].change is None:
        return ""
    first, change = waiting[0], waiting[0].change
    return f"{first.metric} {change.low:+.1%} to {change.high:+.1%}, budget {first.budget}"


def _explained(judgement: Judgement, comparison: Comparison) -> Judgement:
    if judgement.verdict is not Verdict.REGRESSED or judgement.metric not in STATISTICS:
        return judgement
    logs = {name: comparison.compared(name).logs for name in _EXPLAINED_BY}
    said = explanation(judgement.metric, logs)
    return dataclasses.replace(judgement, detail="; ".join(filter(None, [said, judgement.detail])))


def missing(budget: Budget, why: str) -> Judgement:
    """Return what is said of a budget where there is nobody to compare with."""
    detail = f"there is nothing to compare with: {why}"
    return unjudged(budget, Verdict.MISSING, "IB-619", detail)
