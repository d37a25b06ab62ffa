"""Two servers side by side under load: takes a cell's run, its budgets; gives judgements.

In a round both have fresh workers with fresh servers, and get short bursts of load one after the
other, in an order drawn at random, so that the machine's moods meet both. Rounds are taken until
they decide, as `comparing.py` does for one caller; the statistics are `judge/rounds.py`'s.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_inferbench.comparing import Comparison, Live
from pytest_inferbench.handles import Handle
from pytest_inferbench.judge.rates import judge_rate_slowdown
from pytest_inferbench.judge.rounds import judge_slowdown, judge_speedup
from pytest_inferbench.judge.verdict import Judgement, Verdict
from pytest_inferbench.partners import NoPartnerError, partner_against, partner_of
from pytest_inferbench.serving.failures import Failed, beside_failing, failed_in, judge_failures
from pytest_inferbench.serving.runs import Burst, Loaded
from pytest_inferbench.serving.split import moved
from pytest_inferbench.settings.metrics import FAILURES
from pytest_inferbench.side_by_side import UNDER_LOAD, comparison_of, missing, until_decided

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.settings.budgets import Budget

_PAIRS = 2
"""Bursts that each side gets in a round: starting two servers is most of what a round costs."""


@dataclass(frozen=True)
class ShownUnderLoad:
    """What one server of a round showed."""

    bursts: Sequence[Burst]
    versions: Mapping[str, str]

    def figure(self, metric: str) -> float:
        """Return a metric as budgets name it; of throughput the milliseconds that one takes."""
        if metric == "load_throughput":
            return statistics.median(1e3 / burst.per_s for burst in self.bursts)
        statistic = metric.removeprefix("load_")
        return statistics.median(burst.latency_ms[statistic] for burst in self.bursts)

    @property
    def split_ms(self) -> dict[str, float]:
        """The parts of a request's mean time, over its bursts."""
        parts = self.bursts[0].split_ms
        return {name: statistics.median(b.split_ms[name] for b in self.bursts) for name in parts}


class LoadComparison(Comparison):
    """A candidate's server beside a partner's, under a number of clients."""

    def __init__(self, partner: CellRun, candidate: CellRun, label: str, clients: int) -> None:
        super().__init__(partner, candidate, label)
        self._clients = clients
        self._serving = candidate.gate.settings.serving

    def _side(self, run: CellRun, fields: dict[str, Any]) -> Live:
        return _LiveServer(run, fields, self._clients)

    def _plan(self, _typical_ms: float) -> tuple[float, int]:
        return self._serving.burst_s, _PAIRS

    def failed(self) -> tuple[Failed, Failed]:
        """Return what failed in the rounds that count, the partner's first."""
        shown = [(each.partner, each.candidate) for each in self.rounds]
        partner, candidate = (
            failed_in(
                burst
                for pair in shown
                if isinstance(side := pair[index], ShownUnderLoad)
                for burst in side.bursts
            )
            for index in (0, 1)
        )
        return partner, candidate

    def moved(self) -> str:
        """Say which part of a request's time is longer than the partner's."""
        sides = [
            (each.partner.split_ms, each.candidate.split_ms)
            for each in self.rounds
            if isinstance(each.partner, ShownUnderLoad)
            and isinstance(each.candidate, ShownUnderLoad)
        ]
        if not sides:
            return ""
        partner, candidate = (
            {name: statistics.median(side[index][name] for side in sides) for name in sides[0][0]}
            for index in (0, 1)
        )
        said = moved(partner, candidate)
        return f"of the mean: {said}" if said else ""


class _LiveServer(Live):
    """One side of a round: its worker, its server, its bursts of load."""

    def __init__(self, run: CellRun, fields: dict[str, Any], clients: int) -> None:
        super().__init__(run, fields)
        self._clients, self._shown = clients, list[Burst]()
        self._loaded: Loaded | None = None

    def open(self) -> None:
        """Open the artifact, run it once, and prepare the load."""
        super().open()
        self._loaded = Loaded(self._run, self._ran, self._clients)

    def warm(self) -> None:
        """Do nothing: each burst begins with load that does not count."""

    def burst(self, duration_s: float) -> None:
        """Put it under load for a short while."""
        warmup_s = self._run.gate.settings.serving.warmup_s
        assert self._loaded is not None
        self._shown.append(self._loaded.burst(duration_s, warmup_s))

    def close(self) -> None:
        """Forget the load."""
        if self._loaded is not None:
            self._loaded.close()

    def shown(self) -> ShownUnderLoad:
        """Return what it showed."""
        return ShownUnderLoad(self._shown, self._versions)


class LoadBeside:
    """A cell under load beside what `--inferbench-against` names."""

    def __init__(self, run: CellRun) -> None:
        self._run = run
        self._figures: dict[str, float] = {}
        self._label = ""

    def judgements(
        self, budgets: Sequence[Budget], clients: Sequence[int], failures: Budget | None = None
    ) -> list[Judgement]:
        """Judge relative budgets at each number of clients.

        Args:
            budgets: Those that compare.
            clients: The numbers.
            failures: What share of requests may fail on either side, where that is limited.
        """
        judged: list[Judgement] = []
        for each in clients if budgets else ():
            make = functools.partial(LoadComparison, clients=each)
            name = f"against{UNDER_LOAD}{each}"
            try:
                comparison = comparison_of(self._run, name, partner_against, make)
            except NoPartnerError as error:
                judged += [missing(budget, str(error)) for budget in budgets]
                continue
            judges = [
                functools.partial(_judge, budget, comparison, self._run.gate.comparisons)
                for budget in budgets
            ]
            most_s = self._run.gate.settings.serving.compare_s
            found = until_decided(comparison, judges, most_s)
            self._note(comparison, budgets, each)
            found = [_explained(judgement, comparison, each) for judgement in found]
            judged += _with_failures(found, comparison, failures, each)
        return judged

    def _note(self, comparison: Comparison, budgets: Sequence[Budget], clients: int) -> None:
        self._label = comparison.label
        for budget in budgets if comparison.rounds else ():
            compared = comparison.compared(budget.metric)
            is_rate = budget.better == "higher"
            for name, value in (("", compared.value), ("against_", compared.partner)):
                shown = 1e3 / value if is_rate else value
                unit = "per_s" if is_rate else "ms"
                self._figures[f"{name}{budget.metric}_{unit}@{clients}"] = shown

    def figures(self) -> dict[str, float]:
        """Return the figures of both sides."""
        return dict(self._figures)

    def context(self) -> Mapping[str, str]:
        """Say who the other side is, and what to do."""
        what = "find the cause, or raise the budget on purpose"
        return {"compared with": self._label, "what to do": what} if self._label else {}


class LoadSpeedup(Handle):
    """How many times as much as others the cell gets through, each under load beside it."""

    kind = "load_speedup"

    @functools.cached_property
    def _judgements(self) -> list[Judgement]:
        cell, gate = self._run.cell, self._run.gate
        clients = max(gate.settings.serving.concurrency)
        judged = []
        for asked in gate.settings.load_speedups(cell.model, cell.backend, cell.precision):
            find = functools.partial(partner_of, speedup=asked)
            make = functools.partial(LoadComparison, clients=clients)
            name = f"{'-'.join(asked.partner)}{UNDER_LOAD}{clients}"
            try:
                comparison = comparison_of(self._run, name, find, make)
            except NoPartnerError as error:
                judged.append(missing(asked.budget, str(error)))
                continue
            judge = functools.partial(_judge_speedup, asked.budget, comparison, gate.comparisons)
            found = until_decided(comparison, [judge], gate.settings.serving.compare_s)
            found = [_explained(judgement, comparison, clients) for judgement in found]
            judged += _with_failures(found, comparison, self._budget(FAILURES), clients)
        return judged

    def judgements(self) -> list[Judgement]:
        """Judge each of the cell's budgets, taking rounds until it is decided."""
        return self._judgements

    def figures(self) -> dict[str, float]:
        """The factor over each partner."""
        return {
            f"load_speedup_over_{name}": math.exp(-comparison.compared("load_throughput").centre)
            for name, comparison in self._run.comparisons.items()
            if isinstance(comparison, LoadComparison)
            and not name.startswith("against")
            and comparison.rounds
        }


def _judge(budget: Budget, comparison: Comparison, comparisons: int) -> Judgement:
    judge = judge_rate_slowdown if budget.better == "higher" else judge_slowdown
    return judge(budget, comparison.compared(budget.metric), comparisons)


def _judge_speedup(budget: Budget, comparison: Comparison, comparisons: int) -> Judgement:
    return judge_speedup(budget, comparison.compared("load_throughput"), comparisons)


def _explained(judgement: Judgement, comparison: Comparison, clients: int) -> Judgement:
    detail = judgement.detail
    if judgement.verdict is Verdict.REGRESSED and isinstance(comparison, LoadComparison):
        detail = "; ".join(filter(None, [comparison.moved(), detail]))
    return dataclasses.replace(judgement, metric=f"{judgement.metric}@{clients}", detail=detail)


def _with_failures(
    found: Sequence[Judgement], comparison: Comparison, budget: Budget | None, clients: int
) -> list[Judgement]:
    """Judge the candidate's failures too; beside a partner that failed, nothing can be said."""
    if budget is None or not isinstance(comparison, LoadComparison):
        return list(found)
    partner, candidate = comparison.failed()
    if partner.share > budget.limit:
        found = [beside_failing(each, partner, comparison.label) for each in found]
    return [*found, judge_failures(budget, candidate, f"{FAILURES}@{clients}")]
