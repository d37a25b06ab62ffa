"""What a test holds for throughput: inferences a second by batch size, with their judgement.

Takes a cell's run, its budgets and its recorded sessions; gives figures, a judgement, and the
session to record. Launching is in `sweeps.py`, the statistics in `judge/`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.baselines.differences import differences
from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.judge.rates import judge_rate_objective, judge_rate_stored
from pytest_inferbench.judge.runs import MIN_RUNS, Run, StoredSessions
from pytest_inferbench.judge.verdict import Judgement, Verdict
from pytest_inferbench.launches import valid
from pytest_inferbench.recording import environment_of, short
from pytest_inferbench.report.messages import counted
from pytest_inferbench.sweeps import DEFAULT_BATCHES, Sweep
from pytest_inferbench.timing import ACCEPT, RunsHandle, confirmed, said_of

if TYPE_CHECKING:
    from pytest_inferbench.baselines.differences import Difference
    from pytest_inferbench.baselines.schema import Session
    from pytest_inferbench.settings.budgets import Budget


class Throughput(RunsHandle):
    """How many inferences a second one caller gets, at each batch size.

    One call follows another, so it is the batch size over the median time of a call.
    """

    kind = "throughput"
    metrics = ("throughput",)
    is_optional = True

    @cached_property
    def _sweeps(self) -> list[Sweep]:
        if self._run.gate.options.update is not None and self._unlike:
            return []
        return self._measured(self._run.gate.settings.latency.runs)

    def _measured(self, count: int) -> list[Sweep]:
        batches = self._run.gate.settings.latency.batches or DEFAULT_BATCHES
        return valid(self._run.sweep(count, batches))

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that were swept."""
        return tuple(self._sweeps[0].p50_ms) if self._sweeps else ()

    def per_s(self, batch: int) -> float:
        """Return the inferences a second at a batch size: the median over the sweeps."""
        return statistics.median(sweep.rate(batch) for sweep in self._sweeps)

    @property
    def best_per_s(self) -> float:
        """The most inferences a second at any batch size: the median over the sweeps."""
        return statistics.median(sweep.best(self.batches) for sweep in self._sweeps)

    def judgements(self) -> list[Judgement]:
        """Judge the best rate; under `--update-baselines`, record instead of comparing."""
        stored = self._stored  # a baseline that cannot be read fails before anything is measured
        updating = self._run.gate.options.update is not None
        if updating and self._unlike:
            return self._unlike
        budget = self._budget("throughput")
        if budget is None:
            _ = self._sweeps  # it is measured all the same
            return []
        if budget.kind == "relative" and self._run.gate.options.compares:
            raise NotAsked("throughput is not compared side by side")
        judged = self._judge_sweeps(budget, self._sweeps, stored)
        if judged.verdict is Verdict.REGRESSED:
            wanted = len(self._sweeps)
            again = self._measured(2 * wanted)[wanted:]
            judged = confirmed(judged, self._judge_sweeps(budget, again, stored), len(again))
        return [judged]

    def _judge_sweeps(
        self, budget: Budget, sweeps: Sequence[Sweep], stored: Sequence[Session]
    ) -> Judgement:
        gate, cell = self._run.gate, self._run.cell
        runs = [Run(sweep.best(self.batches), sweep.probe_ms) for sweep in sweeps]
        if budget.kind == "absolute":
            rates = [run.value for run in runs]
            judged = judge_rate_objective(budget, rates, gate.comparisons)
        else:
            judged = judge_rate_stored(
                budget,
                runs,
                self._alike(stored),
                hardware=cell.hardware,
                comparisons=gate.comparisons,
                same_speed=gate.settings.latency.same_speed_on(cell.device),
            )
        return self._in_context(judged, budget, len(sweeps))

    def _alike(self, stored: Sequence[Session]) -> StoredSessions:
        """Return the recorded sessions that swept the same batch sizes: no others compare."""
        alike = [each for each in stored if each.batches == self.batches]
        sessions = [
            [
                Run(max(rates), probe)
                for *rates, probe in zip(
                    *each.throughput_per_s.values(), each.sweep_probe_ms, strict=True
                )
            ]
            for each in alike
        ]
        label = f"{counted(len(alike), 'recorded session')} of these batch sizes"
        return StoredSessions(sessions, label)

    def context(self) -> Mapping[str, str]:
        """Say which sweeps do not count, and what to do."""
        lines = {"set aside": self._set_aside} if self._set_aside else {}
        if self._stored and self._sweeps:
            lines["what to do"] = ACCEPT
        return lines

    def differs(self) -> Sequence[Difference] | None:
        """Return what is not as it was when the last session was recorded."""
        if not self._stored or not self._sweeps:
            return None
        last = self._stored[-1]
        now = environment_of(self._run, self._sweeps[0])
        return differences(last.environment, now, (last.artifact, self._run.artifact.sha256))

    def addition(self) -> dict[str, Any] | None:
        """The session to record, latency and the rest of it included."""
        session = None if len(self._sweeps) < MIN_RUNS else super().addition()
        if session is None:
            return None
        return {
            **session,
            "throughput_per_s": {
                str(batch): [short(sweep.rate(batch)) for sweep in self._sweeps]
                for batch in self.batches
            },
            "sweep_probe_ms": [short(sweep.probe_ms) for sweep in self._sweeps],
        }

    @property
    def _set_aside(self) -> str:
        return said_of(sweep.set_aside for sweep in self._run.sweeps)

    def figures(self) -> dict[str, float]:
        """The best rate and where it was."""
        if not self._sweeps:
            return {}
        best = max(self.batches, key=self.per_s)
        return {
            "throughput_per_s": self.best_per_s,
            "best_batch": best,
            "sweeps": len(self._sweeps),
        }

    def details(self) -> dict[str, Any]:
        """The rate and the time of a call at each batch size."""
        return {
            "batches": [
                {
                    "batch": batch,
                    "per_s": self.per_s(batch),
                    "p50_ms": statistics.median(sweep.p50_ms[batch] for sweep in self._sweeps),
                    "samples": sum(sweep.samples[batch] for sweep in self._sweeps),
                    "rates": [short(sweep.rate(batch)) for sweep in self._sweeps],
                }
                for batch in self.batches
            ],
            "raw": [file for sweep in self._run.sweeps for file in sweep.raw_files],
            **self._evidence(),
        }
