"""What a test holds for time and memory: figures over fresh workers, with their judgements.

Takes a cell's run, its budgets and its recorded sessions; gives figures, judgements, and the
session to record. The statistics are in `judge/runs.py`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.handles import Handle, Similarity
from pytest_inferbench.judge.runs import (
    MIN_RUNS,
    Run,
    StoredSessions,
    judge_objective,
    judge_stored,
)
from pytest_inferbench.judge.verdict import Judgement, Verdict, judge_absolute
from pytest_inferbench.launches import PARTS, STATISTICS, Launch, valid
from pytest_inferbench.recording import figures_of, new_session
from pytest_inferbench.report.messages import counted, figure
from pytest_inferbench.side_by_side import Beside

if TYPE_CHECKING:
    from pytest_inferbench.baselines.schema import Session
    from pytest_inferbench.settings.budgets import Budget


class RunsHandle(Handle):
    """Figures that come from launching the cell afresh several times."""

    metrics: tuple[str, ...] = ()

    @cached_property
    def _stored(self) -> tuple[Session, ...]:
        cell = self._run.cell
        file = self._run.gate.baselines.read(cell.hardware, cell.model)
        return file.sessions(cell.baseline_key) if file else ()

    @cached_property
    def _launches(self) -> list[Launch]:
        if self._run.gate.options.update is not None and self._unlike:
            return []
        return valid(self._run.measure(self._run.gate.settings.latency.runs))

    @cached_property
    def _unlike(self) -> list[Judgement]:
        """What speaks against recording this cell: a baseline of wrong outputs is none."""
        return [j for j in Similarity(self._run).judgements() if j.verdict is Verdict.REGRESSED]

    def judgements(self) -> list[Judgement]:
        """Judge every budgeted metric; under `--update-baselines`, record instead of comparing."""
        if self._beside is not None:
            return self._judged_beside(self._beside)
        stored = self._stored  # a baseline that cannot be read fails before anything is measured
        updating = self._run.gate.options.update is not None
        if updating and self._unlike:
            return self._unlike
        judged = [
            self._judge(budget, self._launches, stored)
            for metric in self.metrics
            if (budget := self._budget(metric)) is not None
        ]
        return [self._confirmed(judgement) for judgement in judged]

    @cached_property
    def _beside(self) -> Beside | None:
        """The other side, under `--inferbench-against`: then no baseline is looked at."""
        return Beside(self._run) if self._run.gate.options.compares else None

    def _judged_beside(self, beside: Beside) -> list[Judgement]:
        budgets = [budget for metric in self.metrics if (budget := self._budget(metric))]
        relative = [budget for budget in budgets if budget.kind == "relative"]
        judged = beside.judgements(relative) if relative else []
        # an objective is about this build alone, so it is measured alone
        return judged + [
            self._judge(budget, self._launches, ()) for budget in budgets if budget not in relative
        ]

    def _figures_beside(self) -> dict[str, float]:
        return self._beside.figures(self.metrics) if self._beside is not None else {}

    def addition(self) -> dict[str, Any] | None:
        """The session to record, unless the cell's outputs are wrong or too few runs count."""
        gate = self._run.gate
        if gate.options.update is None or self._unlike or len(self._launches) < MIN_RUNS:
            return None
        scores = Similarity(self._run).figures()
        return new_session(self._run, self._launches, gate.options.reason, scores)

    def context(self) -> Mapping[str, str]:
        """Say what differs from when the baseline was recorded, and what to do."""
        if self._beside is not None:
            return self._beside.context()
        lines = {}
        if self._set_aside:
            lines["set aside"] = self._set_aside
        if self._stored and self._launches:
            last = self._stored[-1]
            now = new_session(self._run, self._launches, "", {})
            lines["differs from the baseline"] = _differences(last, now) or "nothing recorded"
            lines["what to do"] = (
                "find the cause, or accept it with --update-baselines --inferbench-reason '...'"
            )
        return lines

    @property
    def _set_aside(self) -> str:
        """How many runs do not count, and why the first does not; empty when all do."""
        reasons = [launch.set_aside for launch in self._run.launches if launch.set_aside]
        return f"{counted(len(reasons), 'run')}: {reasons[0]}" if reasons else ""

    def _judge(
        self, budget: Budget, launches: Sequence[Launch], stored: Sequence[Session]
    ) -> Judgement:
        runs = [Run(figures_of(launch)[budget.metric], launch.probe_ms) for launch in launches]
        gate, cell = self._run.gate, self._run.cell
        if budget.kind == "absolute":
            return judge_objective(budget, [run.value for run in runs], gate.comparisons)
        judgement = judge_stored(
            budget,
            runs,
            _sessions_of(budget.metric, stored, self._label),
            hardware=cell.hardware,
            comparisons=gate.comparisons,
            same_speed=gate.settings.latency.same_speed,
        )
        if judgement.code == "IB-612" and self._set_aside:
            detail = f"{judgement.detail}; set aside: {self._set_aside}"
            judgement = dataclasses.replace(judgement, detail=detail)
        recording = gate.options.update is not None and len(launches) >= MIN_RUNS
        return _recorded(judgement) if recording else judgement

    @property
    def _label(self) -> str:
        cell, gate = self._run.cell, self._run.gate
        path = gate.baselines.path(cell.hardware, cell.model)
        last = self._stored[-1].recorded[:10] if self._stored else ""
        sessions = counted(len(self._stored), "recorded session")
        return f"{sessions} ({path.parent.name}/{path.name}, last {last})"

    def _confirmed(self, judgement: Judgement) -> Judgement:
        """Believe a regression only when as many fresh launches again say the same."""
        if judgement.verdict is not Verdict.REGRESSED:
            return judgement
        wanted = len(self._launches)
        again = valid(self._run.measure(2 * wanted))[wanted:]
        budget = self._budget(judgement.metric)
        assert budget is not None
        second = self._judge(budget, again, self._stored)
        if second.verdict is Verdict.REGRESSED:
            return judgement
        return dataclasses.replace(
            judgement,
            verdict=Verdict.INCONCLUSIVE,
            code="IB-615",
            detail=f"{counted(len(again), 'further run')} did not confirm it; {second.detail}",
        )


class Latency(RunsHandle):
    """The time of one inference."""

    kind = "latency"
    metrics = STATISTICS

    def percentile_ms(self, statistic: str) -> float:
        """Return a statistic (p5, p50, p90, p99, mean): the median over the runs."""
        return statistics.median(launch.latency_ms[statistic] for launch in self._launches)

    @property
    def p50_ms(self) -> float:
        """The median latency."""
        return self.percentile_ms("p50")

    def figures(self) -> dict[str, float]:
        """Every statistic, and what the same launches showed beside it."""
        if figures := self._figures_beside():
            return figures
        if not self._launches:
            return {}
        return {
            **{f"{name}_ms": self.percentile_ms(name) for name in STATISTICS},
            **{
                name: statistics.median(parts)
                for name in PARTS
                if (
                    parts := [
                        each.parts_ms[name] for each in self._launches if name in each.parts_ms
                    ]
                )
            },
            "peak_mib": statistics.median(launch.peak_mib for launch in self._launches),
            "samples": sum(launch.samples for launch in self._launches),
            "runs": len(self._launches),
        }


class Memory(RunsHandle):
    """What the worker takes and whether it stops growing."""

    kind = "memory"
    metrics = ("memory",)

    @property
    def peak_mib(self) -> float:
        """The peak resident memory: the median over the runs."""
        return statistics.median(launch.peak_mib for launch in self._launches)

    @property
    def growth_mib(self) -> float:
        """The least growth of any run: what every run gained."""
        return min(launch.growth_mib for launch in self._launches)

    def judgements(self) -> list[Judgement]:
        """Judge the peak against its baseline and the growth against its limit."""
        judgements = super().judgements()
        growth = self._budget("memory_growth")
        if growth is not None and self._beside is None and self._launches:
            judgements.append(judge_absolute(growth, self.growth_mib))
        return judgements

    def figures(self) -> dict[str, float]:
        """Peak and growth."""
        if self._beside is not None:
            return self._figures_beside()
        if not self._launches:
            return {}
        return {"peak_mib": self.peak_mib, "growth_mib": self.growth_mib}


class ColdStart(RunsHandle):
    """The time from opening the artifact to the first answer."""

    kind = "cold_start"
    metrics = ("cold_start",)

    @property
    def median_ms(self) -> float:
        """The median over the runs."""
        return statistics.median(launch.cold_start_ms for launch in self._launches)

    def figures(self) -> dict[str, float]:
        """The cold start."""
        if figures := self._figures_beside():
            return figures
        return {"cold_start_ms": self.median_ms} if self._launches else {}


def _sessions_of(metric: str, stored: Sequence[Session], label: str) -> StoredSessions:
    """Return the recorded runs of a metric; sessions that did not record it are left out."""
    sessions = [
        [Run(value, probe) for value, probe in zip(values, session.probe_ms, strict=True)]
        for session in stored
        if len(values := session.runs_of(metric)) == len(session.probe_ms) > 0
    ]
    return StoredSessions(sessions, label)


def _recorded(judgement: Judgement) -> Judgement:
    unit = judgement.unit
    old = "nothing" if judgement.baseline is None else figure(judgement.baseline, unit)
    return dataclasses.replace(
        judgement,
        verdict=Verdict.PASS,
        code="IB-702",
        detail=f"recorded: {old} -> {figure(judgement.value, unit)}",
    )


def _differences(last: Session, now: Mapping[str, Any]) -> str:
    """Name what of the environment is not as it was recorded."""
    environment = {**now["environment"], "artifact": now["artifact"][:12]}
    before = {**last.environment, "artifact": last.artifact[:12]}
    return ", ".join(
        f"{name} {before.get(name, 'absent')} -> {environment.get(name, 'absent')}"
        for name in sorted(before.keys() | environment.keys())
        if before.get(name) != environment.get(name)
    )
