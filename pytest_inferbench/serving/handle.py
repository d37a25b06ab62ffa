"""What a test holds for a server under load: figures by number of clients, with their judgements.

Takes a cell's run, its budgets and its recorded sessions; gives figures, judgements, and the
session to record. Load is made in `serving/runs.py`, the statistics are in `judge/`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.baselines.differences import differences
from pytest_inferbench.handles import Similarity
from pytest_inferbench.judge.rates import judge_rate_objective, judge_rate_stored
from pytest_inferbench.judge.runs import (
    MIN_RUNS,
    Run,
    StoredSessions,
    judge_objective,
    judge_stored,
)
from pytest_inferbench.judge.verdict import Judgement, Verdict, unjudged
from pytest_inferbench.launches import valid
from pytest_inferbench.recording import environment_of, new_session, short
from pytest_inferbench.report.messages import counted
from pytest_inferbench.serving.beside import LoadBeside
from pytest_inferbench.serving.failures import failed_in, judge_failures
from pytest_inferbench.serving.runs import LATENCIES, LoadRun
from pytest_inferbench.serving.split import PARTS, moved
from pytest_inferbench.settings.metrics import FAILURES, TIMED_UNDER_LOAD
from pytest_inferbench.timing import ACCEPT, RunsHandle, confirmed, recorded, said_of

if TYPE_CHECKING:
    from pytest_inferbench.baselines.differences import Difference
    from pytest_inferbench.baselines.schema import Session
    from pytest_inferbench.settings.budgets import Budget

_AS_RECORDED = ("recorded", "reason", "artifact", "environment", "scores")
# A time of nothing has no logarithm; a server counts whole microseconds.
_LEAST_MS = 1e-3


class Load(RunsHandle):
    """A server under load: how many answers a second, how long clients wait, and where."""

    kind = "load"
    metrics = TIMED_UNDER_LOAD

    @property
    def clients(self) -> tuple[int, ...]:
        """The numbers of clients that load was made with."""
        return tuple(dict.fromkeys(self._run.gate.settings.serving.concurrency))

    @cached_property
    def _loads(self) -> dict[int, list[LoadRun]]:
        if self._run.gate.options.update is not None and self._unlike:
            return {}
        runs = self._run.gate.settings.serving.runs
        return {clients: self._measured(clients, runs) for clients in self.clients}

    def _measured(self, clients: int, count: int) -> list[LoadRun]:
        return valid(self._run.put_under_load(clients, count))

    def per_s(self, clients: int) -> float:
        """Return the answers a second at a number of clients: the median over the runs."""
        return self.figure("load_throughput", clients)

    def percentile_ms(self, statistic: str, clients: int) -> float:
        """Return a statistic (mean, p50, p90, p95, p99) of what clients waited, likewise."""
        return self.figure(f"load_{statistic}", clients)

    def figure(self, metric: str, clients: int) -> float:
        """Return a metric as budgets name it: the median over the runs.

        Raises:
            KeyError: No run tells it.
        """
        return statistics.median(run.figure(metric) for run in self._loads[clients])

    def split_ms(self, clients: int) -> dict[str, float]:
        """Return the parts of the mean time of a request: each the median over the runs."""
        return medians(run.split_ms for run in self._loads[clients])

    def judgements(self) -> list[Judgement]:
        """Judge every budget at every number of clients; under `--update-baselines`, record."""
        if self._beside_load is not None:
            return self._judged_beside_load(self._beside_load)
        stored = self._stored  # a baseline that cannot be read fails before anything is measured
        if self._run.gate.options.update is not None and self._unlike:
            return self._unlike
        judged = self._judge_failures()
        for clients, runs in self._loads.items():
            for metric in self.metrics:
                if (budget := self._budget(metric)) is not None:
                    judged.append(self._judge_once_more(budget, clients, runs, stored))
        return judged

    @cached_property
    def _beside_load(self) -> LoadBeside | None:
        """The other side, under `--inferbench-against`: then no baseline is looked at."""
        return LoadBeside(self._run) if self._run.gate.options.compares else None

    def _judged_beside_load(self, beside: LoadBeside) -> list[Judgement]:
        budgets = [budget for metric in self.metrics if (budget := self._budget(metric))]
        relative = [budget for budget in budgets if budget.kind == "relative"]
        judged = beside.judgements(relative, self.clients, self._budget(FAILURES))
        absolute = [budget for budget in budgets if budget.kind == "absolute"]
        # an objective is about this build alone, so it is measured alone; so is what fails where
        # nothing is measured beside the other side
        if absolute or not relative:
            judged += self._judge_failures()
            judged += [
                self._judge_load(budget, clients, runs, ())
                for clients, runs in self._loads.items()
                for budget in absolute
            ]
        return judged

    def _judge_failures(self) -> list[Judgement]:
        """Judge the share of requests that failed: none is left out of what was asked."""
        budget = self._budget(FAILURES)
        if budget is None:
            return []
        return [judge_failures(budget, failed_in(run for r in self._loads.values() for run in r))]

    def _judge_once_more(
        self, budget: Budget, clients: int, runs: Sequence[LoadRun], stored: Sequence[Session]
    ) -> Judgement:
        """Believe a regression only when as many fresh runs again say the same."""
        judged = self._judge_load(budget, clients, runs, stored)
        if judged.verdict is not Verdict.REGRESSED:
            return judged
        again = self._measured(clients, 2 * len(runs))[len(runs) :]
        return confirmed(judged, self._judge_load(budget, clients, again, stored), len(again))

    def _judge_load(
        self, budget: Budget, clients: int, runs: Sequence[LoadRun], stored: Sequence[Session]
    ) -> Judgement:
        at_clients = f"{budget.metric}@{clients}"
        if not all(run.has(budget.metric) for run in runs):
            told = (run.untold.get(budget.metric, "") for run in runs)
            untold = next(filter(None, told), "")
            detail = f"the server does not tell it: {untold or 'no figure'}"
            judged = unjudged(budget, Verdict.INCONCLUSIVE, "IB-660", detail)
            return dataclasses.replace(judged, metric=at_clients)
        values = [Run(max(_LEAST_MS, run.figure(budget.metric)), run.probe_ms) for run in runs]
        judged = self._judged(
            budget, values, _recorded_at(clients, budget.metric, stored, self._label)
        )
        details = [judged.detail, _strangers(runs)]
        if judged.verdict is Verdict.REGRESSED:
            details.insert(0, self._explained(clients, runs, stored))
        if judged.code == "IB-612" and self._set_aside:
            details.append(f"set aside: {self._set_aside}")
        judged = dataclasses.replace(
            judged, metric=at_clients, detail="; ".join(filter(None, details))
        )
        recording = self._run.gate.options.update is not None and len(runs) >= MIN_RUNS
        return recorded(judged) if recording and budget.kind == "relative" else judged

    def _judged(self, budget: Budget, runs: Sequence[Run], stored: StoredSessions) -> Judgement:
        gate, cell = self._run.gate, self._run.cell
        is_rate = budget.better == "higher"
        if budget.kind == "absolute":
            judge = judge_rate_objective if is_rate else judge_objective
            return judge(budget, [run.value for run in runs], gate.comparisons)
        judge_relative = judge_rate_stored if is_rate else judge_stored
        return judge_relative(
            budget,
            runs,
            stored,
            hardware=cell.hardware,
            comparisons=gate.comparisons,
            same_speed=gate.settings.latency.same_speed_on(cell.device),
        )

    def _explained(self, clients: int, runs: Sequence[LoadRun], stored: Sequence[Session]) -> str:
        """Say which part of a request's time moved; without a baseline, what it is made of."""
        now = medians(run.split_ms for run in runs)
        then = _recorded_split(clients, stored)
        if then:
            said = moved(then, now)
            return f"of the mean: {said}" if said else ""
        whole = sum(now.values())
        largest = sorted(PARTS, key=lambda part: -now.get(part, 0.0))[:2]
        named = " and ".join(f"{part} {now.get(part, 0.0):.3g} ms" for part in largest)
        return f"of the mean: {named} of {whole:.3g} ms"

    def context(self) -> Mapping[str, str]:
        """Say which runs do not count, and what to do."""
        if self._beside_load is not None:
            return self._beside_load.context()
        lines = {"set aside": self._set_aside} if self._set_aside else {}
        if self._stored and self._loads:
            lines["what to do"] = ACCEPT
        return lines

    def differs(self) -> Sequence[Difference] | None:
        """Return what is not as it was when the last session was recorded."""
        first = self._first
        if self._beside_load is not None or not self._stored or first is None:
            return None
        last, now = self._stored[-1], environment_of(self._run, first)
        return differences(last.environment, now, (last.artifact, self._run.artifact.sha256))

    def addition(self) -> dict[str, Any] | None:
        """What is to be recorded of it, unless outputs are wrong or too few runs count."""
        gate, first = self._run.gate, self._first
        few = any(len(runs) < MIN_RUNS for runs in self._loads.values())
        if gate.options.update is None or self._unlike or few or first is None:
            return None
        whole = new_session(self._run, [], gate.options.reason, Similarity(self._run).figures())
        return {
            **{key: whole[key] for key in _AS_RECORDED},
            "environment": environment_of(self._run, first),
            "load": {str(clients): _plain(runs) for clients, runs in self._loads.items()},
        }

    @property
    def _first(self) -> LoadRun | None:
        return next((run for runs in self._loads.values() for run in runs), None)

    @property
    def _set_aside(self) -> str:
        runs = (run for each in self._run.loads.values() for run in each)
        return said_of(run.set_aside for run in runs)

    def figures(self) -> dict[str, float]:
        """Throughput and latencies at each number of clients."""
        if self._beside_load is not None and "_loads" not in vars(self):
            return self._beside_load.figures()
        figures: dict[str, float] = {}
        for clients, runs in self._loads.items():
            if not runs:
                continue
            figures[f"load_per_s@{clients}"] = self.per_s(clients)
            for name in LATENCIES:
                figures[f"load_{name}_ms@{clients}"] = statistics.median(
                    run.latency_ms[name] for run in runs
                )
        return figures

    def details(self) -> dict[str, Any]:
        """What the study's table and results hold: everything, at each number of clients."""
        if self._beside_load is not None and "_loads" not in vars(self):
            return {}
        return {
            "load": [
                {**_told(clients, runs), "set_aside": self._aside(clients)}
                for clients, runs in self._loads.items()
                if runs
            ],
            **self._evidence(),
        }

    def _aside(self, clients: int) -> list[str]:
        """Return why each run that does not count does not."""
        return [run.set_aside for run in self._run.loads.get(clients, ()) if run.set_aside]


def medians(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure that every table has."""
    rows = list(tables)
    common = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {name: statistics.median(row[name] for row in rows) for name in common}


def _recorded_at(
    clients: int, metric: str, stored: Sequence[Session], label: str
) -> StoredSessions:
    """Return the recorded runs at a number of clients: no others compare."""
    sessions = [
        [Run(value, probe) for value, probe in zip(values, load.probe_ms, strict=True)]
        for session in stored
        if (load := session.load.get(str(clients))) and (values := load.runs_of(metric))
    ]
    return StoredSessions(sessions, f"{label}, {counted(clients, 'client')}")


def _recorded_split(clients: int, stored: Sequence[Session]) -> dict[str, float]:
    """Return the parts of a request's time in the last session that recorded them."""
    for session in reversed(stored):
        load = session.load.get(str(clients))
        if load is not None and load.split_ms:
            return {part: statistics.median(runs) for part, runs in load.split_ms.items()}
    return {}


def _plain(runs: Sequence[LoadRun]) -> dict[str, Any]:
    """Return runs as they stand in a baseline file."""

    def columns(tables: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
        return {name: [short(table[name]) for table in tables] for name in medians(tables)}

    return {
        "per_s": [short(run.per_s) for run in runs],
        "latency_ms": columns([run.latency_ms for run in runs]),
        "queue_ms": columns([run.queue_ms for run in runs]),
        "split_ms": columns([run.split_ms for run in runs]),
        "probe_ms": [short(run.probe_ms) for run in runs],
    }


def _told(clients: int, runs: Sequence[LoadRun]) -> dict[str, Any]:
    """Return what a table shows of a number of clients, as plain types."""
    failed = failed_in(runs)
    return {
        "clients": clients,
        "runs": len(runs),
        "requests": failed.asked,
        "failures": dict(failed.by_reason),
        "per_s": statistics.median(run.per_s for run in runs),
        "latency_ms": medians(run.latency_ms for run in runs),
        "queue_ms": medians(run.queue_ms for run in runs),
        "split_ms": medians(run.split_ms for run in runs),
        "server": medians(run.server for run in runs),
        "client_cpu_ms": statistics.median(run.client_cpu_ms for run in runs),
        "bytes_out": runs[-1].bytes_out,
        "bytes_in": runs[-1].bytes_in,
        "by_run": _by_run(runs),
        "strangers": _strangers(runs),
    }


def _strangers(runs: Sequence[LoadRun]) -> str:
    return next(filter(None, (run.strangers for run in runs)), "")


def _by_run(runs: Sequence[LoadRun]) -> dict[str, list[float]]:
    """Return the figures of each run, by the names that objectives have."""
    tables = [
        {
            "per_s": run.per_s,
            "failures": sum(run.failures.values()) / run.requests if run.requests else 0.0,
            **run.latency_ms,
            **{f"queue_{name}": value for name, value in run.queue_ms.items()},
        }
        for run in runs
    ]
    return {name: [table[name] for table in tables] for name in medians(tables)}
