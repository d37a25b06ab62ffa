"""What a test holds for time: figures over fresh workers, with their judgements.

Takes a cell's run, its budgets and its recorded sessions; gives figures, judgements, and the
session to record. The statistics are in `judge/runs.py`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.baselines.differences import differences
from pytest_inferbench.comparing import METRICS as COMPARED
from pytest_inferbench.evidence import of_runs, of_sessions
from pytest_inferbench.handles import Handle, Similarity
from pytest_inferbench.judge.runs import (
    MIN_RUNS,
    Run,
    StoredSessions,
    judge_objective,
    judge_stored,
)
from pytest_inferbench.judge.verdict import Judgement, Verdict, unjudged
from pytest_inferbench.launches import (
    PARTS,
    STATISTICS,
    Launch,
    device_figures,
    valid,
)
from pytest_inferbench.recording import figures_of, new_session
from pytest_inferbench.report.messages import counted, figure
from pytest_inferbench.side_by_side import Beside

if TYPE_CHECKING:
    from pytest_inferbench.baselines.differences import Difference
    from pytest_inferbench.baselines.schema import Session
    from pytest_inferbench.settings.budgets import Budget


ACCEPT = "find the cause, or accept it with --update-baselines --inferbench-reason '...'"

TAILS = ("p90", "p99")
"""Statistics that batches of calls make milder."""


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
        told = [budget for budget in relative if budget.metric in COMPARED]
        judged = beside.judgements(told) if told else []
        judged += [_not_compared(budget) for budget in relative if budget not in told]
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

    def details(self) -> dict[str, Any]:
        """Every run, set aside or not, what it was judged against, and the files of raw samples."""
        return {
            "raw": [file for launch in self._run.launches for file in launch.raw_files],
            **self._evidence(),
        }

    def _evidence(self) -> dict[str, Any]:
        """Return every run, and the recorded sessions if any were looked at."""
        return {
            "runs": of_runs(self._run.launches),
            "recorded": of_sessions(vars(self).get("_stored", ())),
        }

    def context(self) -> Mapping[str, str]:
        """Say which runs do not count, and what to do."""
        if self._beside is not None:
            return self._beside.context()
        lines = {}
        if self._set_aside:
            lines["set aside"] = self._set_aside
        if self._stored and self._launches:
            lines["what to do"] = ACCEPT
        return lines

    def differs(self) -> Sequence[Difference] | None:
        """Return what is not as it was when the last session was recorded."""
        if self._beside is not None:
            return self._beside.differs()
        if not self._stored or not self._launches:
            return None
        last, now = self._stored[-1], new_session(self._run, self._launches, "", {})
        artifacts = (last.artifact, now["artifact"])
        return differences(last.environment, now["environment"], artifacts)

    @property
    def _set_aside(self) -> str:
        """How many runs do not count, and why the first does not; empty when all do."""
        return said_of(launch.set_aside for launch in self._run.launches)

    def _judge(
        self, budget: Budget, launches: Sequence[Launch], stored: Sequence[Session]
    ) -> Judgement:
        if (unread := _unread(budget, launches)) is not None:
            return unread
        runs = [Run(figures_of(launch)[budget.metric], launch.probe_ms) for launch in launches]
        gate, cell = self._run.gate, self._run.cell
        if budget.kind == "absolute":
            judgement = judge_objective(budget, [run.value for run in runs], gate.comparisons)
        else:
            judgement = judge_stored(
                budget,
                runs,
                _sessions_of(budget.metric, stored, self._label),
                hardware=cell.hardware,
                comparisons=gate.comparisons,
                same_speed=gate.settings.latency.same_speed_on(cell.device),
            )
        return self._in_context(judgement, budget, len(launches))

    def _in_context(self, judgement: Judgement, budget: Budget, runs: int) -> Judgement:
        """Say why too few runs count; of what is being recorded, say that instead."""
        if judgement.code == "IB-612" and self._set_aside:
            detail = f"{judgement.detail}; set aside: {self._set_aside}"
            judgement = dataclasses.replace(judgement, detail=detail)
        updating = self._run.gate.options.update is not None
        becomes_baseline = updating and budget.kind != "absolute" and runs >= MIN_RUNS
        return recorded(judgement) if becomes_baseline else judgement

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
        return confirmed(judgement, self._judge(budget, again, self._stored), len(again))


class Latency(RunsHandle):
    """The time of one inference."""

    kind = "latency"
    metrics = STATISTICS

    def percentile_ms(self, statistic: str) -> float:
        """Return a statistic (p5, p50, p90, p99, mean): the median over the runs."""
        return statistics.median(launch.latency_ms[statistic] for launch in self._launches)

    def _judge(
        self, budget: Budget, launches: Sequence[Launch], stored: Sequence[Session]
    ) -> Judgement:
        """Judge as usual, and say of a tail what it is the tail of."""
        judgement = super()._judge(budget, launches, stored)
        calls = max((launch.calls_per_sample for launch in launches), default=1)
        if calls == 1 or budget.metric not in TAILS:
            return judgement
        means = f"each timing is the mean of {calls} calls, so a single slow call shows less"
        return dataclasses.replace(judgement, detail=f"{judgement.detail}; {means}")

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
            **(
                {"device_p50_ms": statistics.median(device)}
                if (device := [x.device_ms["p50"] for x in self._launches if x.device_ms])
                else {}
            ),
            "calls_per_sample": max(launch.calls_per_sample for launch in self._launches),
            **device_figures(self._launches),
            "samples": sum(launch.samples for launch in self._launches),
            "runs": len(self._launches),
        }


def _unread(budget: Budget, launches: Sequence[Launch]) -> Judgement | None:
    """A figure that some run lacks cannot be judged, and never passes for that."""
    if all(budget.metric in figures_of(launch) for launch in launches):
        return None
    return not_read(budget, launches)


def _not_compared(budget: Budget) -> Judgement:
    """Side by side both workers draw on one counter, and hold memory on one device."""
    return unjudged(
        budget,
        Verdict.INCONCLUSIVE,
        "IB-661",
        "two workers that run in turn share what tells it: compare it with a recorded"
        " baseline, without --inferbench-against, or set an absolute budget",
    )


def not_read(budget: Budget, launches: Sequence[Launch]) -> Judgement:
    """Return what is said of a figure that some run could not read."""
    reasons = dict.fromkeys(launch.missing.get(budget.metric, "") for launch in launches)
    reason = next(filter(None, reasons), "some runs could not read it")
    detail = f"it cannot be read on this machine: {reason}"
    return unjudged(budget, Verdict.INCONCLUSIVE, "IB-660", detail)


def _sessions_of(metric: str, stored: Sequence[Session], label: str) -> StoredSessions:
    """Return the recorded runs of a metric; sessions that did not record it are left out."""
    sessions = [
        [Run(value, probe) for value, probe in zip(values, session.probe_ms, strict=True)]
        for session in stored
        if len(values := session.runs_of(metric)) == len(session.probe_ms) > 0
    ]
    return StoredSessions(sessions, label)


def said_of(reasons: Iterable[str]) -> str:
    """Say how many runs do not count, and why the first does not; empty when all do."""
    given = [reason for reason in reasons if reason]
    return f"{counted(len(given), 'run')}: {given[0]}" if given else ""


def confirmed(first: Judgement, second: Judgement, runs: int) -> Judgement:
    """Return a regression as it is when fresh runs say the same, else as inconclusive."""
    if second.verdict is Verdict.REGRESSED:
        return first
    return dataclasses.replace(
        first,
        verdict=Verdict.INCONCLUSIVE,
        code="IB-615",
        detail=f"{counted(runs, 'further run')} did not confirm it; {second.detail}",
    )


def recorded(judgement: Judgement) -> Judgement:
    """Return what is said of a figure that becomes a baseline instead of being compared."""
    unit = judgement.unit
    old = "nothing" if judgement.baseline is None else figure(judgement.baseline, unit)
    return dataclasses.replace(
        judgement,
        verdict=Verdict.PASS,
        code="IB-702",
        detail=f"recorded: {old} -> {figure(judgement.value, unit)}",
    )
