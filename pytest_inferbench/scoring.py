"""What a test holds for a task's own scores: figures of one cell, with their judgements.

Takes a cell's run and the settings' budgets; gives figures and judgements. What is scored, and how,
is the task's business (`tasks/`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.handles import Handle, faulty
from pytest_inferbench.judge.verdict import Judgement, judge_absolute, judge_drop
from pytest_inferbench.settings.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_inferbench.settings.budgets import Budget
    from pytest_inferbench.tasks.base import Scores


class TaskScores(Handle):
    """What a cell's outputs are worth, as its model's task says."""

    fixture: ClassVar[str] = "task_scores"
    task: ClassVar[str | None] = None

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The task's name."""
        return self._run.task.kind

    @cached_property
    def own(self) -> Any:
        """What the task's `score` gave for this cell."""
        task = self._run.task
        if self.task not in (None, task.kind):
            raise InferbenchError(
                "IB-504",
                f'`{self.fixture}` was asked of {self._run.cell}, whose task is "{task.kind}"',
                f'Narrow the test: @pytest.mark.inferbench(tasks=["{self.task}"]).',
            )
        return task.score(self._run.outputs)

    @cached_property
    def reference(self) -> Any:
        """What the task's `score` gave for the reference."""
        return self._run.gate.reference_of(self._run.cell.model).scores

    @cached_property
    def scores(self) -> Scores:
        """The figures, what is to be said of them, and the faults."""
        from pytest_inferbench.tasks.base import Scores

        own = self.own  # first: it refuses a model of another task
        scores = self._run.task.compare(self.reference, own)
        if not isinstance(scores, Scores):
            raise InferbenchError(
                "IB-509",
                f"the task {self.kind} compared {self._run.cell} and gave"
                f" {type(scores).__name__}, not Scores",
                "docs/tasks.md shows what `compare` returns.",
            )
        return scores

    def __getitem__(self, name: str) -> float:
        """Return a figure by its name."""
        if name in self.scores.figures:
            return self.scores.figures[name]
        why = self.scores.missing.get(name) or f"there are {', '.join(self.scores.figures)}"
        raise InferbenchError("IB-507", f"{self._run.cell} has no figure {name!r}: {why}")

    def judgements(self) -> list[Judgement]:
        """Judge every figure that has a budget; faults fail whatever the budgets."""
        scores = self.scores
        if scores.faults:
            return [faulty(fault) for fault in scores.faults[:5]]
        judgements = []
        for metric, budget in self._budgets():
            if metric not in scores.figures:
                self._refuse_missing(budget)
            elif self._tells(budget):
                detail = scores.details.get(metric) or scores.details.get("", "")
                judgements.append(_judged(budget, scores.figures, detail))
        return judgements

    def figures(self) -> dict[str, float]:
        """Everything that was measured; none where there are faults."""
        scores = self.scores
        return {} if scores.faults else {name: float(x) for name, x in scores.figures.items()}

    def context(self) -> Mapping[str, str]:
        """What the task wants said of a failure."""
        return self.scores.context

    def _budgets(self) -> Iterator[tuple[str, Budget]]:
        """Those of the task's own metrics; without data, those of the settings alone."""
        task, settings = self._run.task, self._run.gate.settings
        known = {**METRICS, **settings.registered_metrics}
        own = {name: self._budget(name) for name, each in known.items() if each.task == task.kind}
        found = {name: budget for name, budget in own.items() if budget is not None}
        if task.model.data is None:
            found = {name: each for name, each in found.items() if each.origin == "settings"}
            if not found and not self.scores.faults:
                raise NotAsked(
                    f"models.{task.name} has no data, and the package's own limits are about"
                    " real samples, not random ones"
                )
        yield from found.items()

    def _refuse_missing(self, budget: Budget) -> None:
        """A default stands in where it can; a budget of the settings must be answered."""
        if budget.origin == "settings":
            why = self.scores.missing.get(budget.metric, "the task gave no such figure")
            raise InferbenchError(
                "IB-507",
                f"{budget.metric} has a budget, and {self._run.cell} has no such figure: {why}",
                f"Set {budget.metric} = false, or give the model what it takes.",
            )

    def _tells(self, budget: Budget) -> bool:
        null = self.scores.nulls.get(budget.metric)
        if null is None or not math.isfinite(null):
            return True
        if budget.limit > null if budget.better == "higher" else budget.limit < null:
            return True
        if budget.origin == "default":
            return False
        raise InferbenchError(
            "IB-503",
            f"the {budget.metric} budget {budget.text} tells nothing here: a wrong answer gets"
            f" {null:.6f}",
            f"Tighten it beyond that, or set {budget.metric} = false.",
        )


class Classification(TaskScores):
    """What the cell classifies."""

    fixture, task = "classification", "classification"

    @property
    def best(self) -> npt.NDArray[np.int64]:
        """The best class of every sample."""
        found: npt.NDArray[np.int64] = self.own.top[:, 0]
        return found


class Embeddings(TaskScores):
    """What the cell embeds."""

    fixture, task = "embeddings", "embedding"

    @property
    def vectors(self) -> npt.NDArray[np.float64]:
        """The vector of every sample, at length 1."""
        found: npt.NDArray[np.float64] = self.own.vectors
        return found


class Segmentation(TaskScores):
    """What the cell segments."""

    fixture, task = "segmentation", "segmentation"


class Transcripts(TaskScores):
    """What the cell hears."""

    fixture, task = "transcripts", "speech"

    @property
    def tokens(self) -> Sequence[Sequence[int]]:
        """The tokens of every sample."""
        found: Sequence[Sequence[int]] = self.own.tokens
        return found

    @property
    def texts(self) -> Sequence[str]:
        """The words of every sample; IB-507 without a vocabulary."""
        if self.own.texts is None:
            raise InferbenchError(
                "IB-507",
                f"{self._run.cell} has tokens and no words: models.<name>.speech.vocabulary is not"
                " set",
            )
        found: Sequence[str] = self.own.texts
        return found


def _judged(budget: Budget, figures: Mapping[str, float], detail: str) -> Judgement:
    """Judge a figure; a loss that comes with its interval's bound may be put down to luck."""
    value, low = float(figures[budget.metric]), figures.get(f"{budget.metric}_low")
    if low is None:
        return judge_absolute(budget, value, detail)
    return judge_drop(budget, value, float(low), detail)
