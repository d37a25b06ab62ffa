"""What a test holds for accuracy: lazy figures of one cell, with their judgements.

Takes a cell's run and the settings' budgets; gives figures and judgements. The arithmetic is in
`accuracy/` and `judge/`, the work in `cellrun.py`; timing has its own file, `timing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Judgement, Verdict, judge_absolute
from pytest_inferbench.tasks import DetectionTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.accuracy.drop import Drop
    from pytest_inferbench.accuracy.similarity import Null, OutputSimilarity, Spread
    from pytest_inferbench.accuracy.similarity import Similarity as Comparison
    from pytest_inferbench.baselines.differences import Difference
    from pytest_inferbench.bisect import Located
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.settings.budgets import Budget


_ALIKE = 1 - 5e-7  # what is shown as 1.000000: no budget fits between it and the most there is


class Handle:
    """A measurement of one cell, made on first use."""

    kind = ""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def judgements(self) -> list[Judgement]:
        """Judge against every budget that applies."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """The numbers for tables and results."""
        raise NotImplementedError

    def addition(self) -> dict[str, Any] | None:
        """The session to record, when baselines are being updated."""
        return None

    def context(self) -> Mapping[str, str]:
        """What a failure message should say beside the figures: label -> text."""
        return {}

    def differs(self) -> Sequence[Difference] | None:
        """What is not as it was when the baseline was recorded; None where there is none."""
        return None

    def located(self) -> Located | None:
        """The layer that is at fault, where that was asked for and can be told of such figures."""
        return None

    def _budget(self, metric: str) -> Budget | None:
        cell = self._run.cell
        return self._run.gate.settings.budget(cell.model, metric, cell.precision, cell.hardware)


class OutputsHandle(Handle):
    """What is judged by the cell's outputs, so that the layer behind a failure can be found."""

    def located(self) -> Located | None:
        """The layer that makes the outputs diverge from the reference's, or how to have it."""
        from pytest_inferbench.bisect import Located

        gate = self._run.gate
        if gate.options.bisect:
            return self._run.located
        if gate.catalog[self._run.cell.backend].source != "onnx":
            return None
        return Located({"to find the layer": "run it again with --inferbench-bisect"})


class Similarity(OutputsHandle):
    """How close the cell's outputs are to the fp32 reference's."""

    kind = "similarity"

    @cached_property
    def result(self) -> Comparison:
        """The comparison itself, with its faults; see `accuracy.similarity`."""
        from pytest_inferbench.accuracy.similarity import compare

        gate, cell = self._run.gate, self._run.cell
        reference = gate.reference_of(cell.model).outputs
        return compare(reference, self._run.outputs)

    @property
    def cosine(self) -> float:
        """The smallest cosine of any sample and output."""
        return self.result.cosine

    @property
    def max_error(self) -> float:
        """The largest error of any element."""
        return self.result.max_error

    def judgements(self) -> list[Judgement]:
        """Faults fail; cosines are judged against their budget, which must lie above the null."""
        if self.result.faults:
            return [_faulty(str(fault)) for fault in self.result.faults[:5]]
        worst = self.result.worst
        centred = self._judge_cosine("centred_cosine", worst.centred, worst.centred_null, worst)
        plain = self._budget("cosine")
        judgements = [centred] if centred else []
        # The plain cosine of outputs that share a large common part is blind, so the package's
        # own default for it only stands in where no centred one can be had.
        if plain is not None and (plain.origin == "settings" or centred is None):
            judgements += filter(
                None, [self._judge_cosine("cosine", worst.cosine, worst.null, worst)]
            )
        for metric, value in (("max_error", worst.max_error), ("snr_db", worst.snr_db)):
            if (budget := self._budget(metric)) is not None:
                judgements.append(judge_absolute(budget, min(value, 1e308)))
        return judgements

    def _judge_cosine(
        self, metric: str, spread: Spread | None, null: Null | None, worst: OutputSimilarity
    ) -> Judgement | None:
        budget = self._budget(metric)
        if budget is None:
            return None
        if spread is None:
            if budget.origin == "default":
                return None
            raise InferbenchError(
                "IB-502",
                f"{metric} needs at least two samples of one shape whose reference outputs differ",
                "Give the model more data, or budget `cosine` instead.",
            )
        if null is not None and budget.limit <= null.max:
            whose = "default " if budget.origin == "default" else ""
            raise InferbenchError(
                "IB-503",
                f"the {whose}{metric} budget {budget.text} tells nothing here: outputs of"
                f" different inputs reach {null.max:.6f}, and this cell's {spread.min:.6f}",
                _instead_of(metric, null, worst.centred),
            )
        beside = f"null {null.max:.4f}, " if null is not None else ""
        detail = (
            f"{beside}mean {spread.mean:.6f}, largest error {worst.max_error:.4g}"
            f" over {worst.samples} samples"
        )
        return judge_absolute(budget, spread.min, detail)

    def figures(self) -> dict[str, float]:
        """Cosines and errors, the null beside them; none where there are faults."""
        if self.result.faults:
            return {}
        worst = self.result.worst
        figures = {
            "cosine": worst.cosine.min,
            "cosine_mean": worst.cosine.mean,
            "max_error": worst.max_error,
            "snr_db": worst.snr_db,
        }
        if worst.null is not None:
            figures["cosine_null"] = worst.null.max
        if worst.centred is not None:
            figures["centred_cosine"] = worst.centred.min
        return figures


class Detections(OutputsHandle):
    """What the cell detects, scored against the ground truth."""

    kind = "detection"

    @cached_property
    def scores(self) -> CocoScores:
        """Pycocotools' scores; see `accuracy.coco`."""
        task = self._run.task
        if not isinstance(task, DetectionTask):
            raise InferbenchError(
                "IB-504",
                f'`detections` was asked of {self._run.cell}, whose task is "{task.model.task}"',
                'Narrow the test: @pytest.mark.inferbench(tasks=["detection"]).',
            )
        return task.score(self._run.outputs)

    def ap(self, area: str = "all", iou: float | None = None, label: str | None = None) -> float:
        """Return the average precision of a part; see `CocoScores.ap`."""
        return self.scores.ap(area, iou, label)

    @cached_property
    def drop(self) -> Drop:
        """What was lost against the reference, with its interval."""
        from pytest_inferbench.accuracy.drop import map_drop

        scores = self.scores  # first: it refuses a model that detects nothing
        return map_drop(self._reference, scores)

    @property
    def _reference(self) -> CocoScores:
        return self._run.gate.reference_of(self._run.cell.model).scores

    def judgements(self) -> list[Judgement]:
        """Judge mAP and its drop."""
        drop, scores, reference = self.drop, self.scores, self._reference
        classes = ", ".join(
            f"{name} {lost:+.3f}"
            for name, lost in sorted(drop.per_class.items(), key=lambda x: -(x[1] or 0))[:3]
            if lost is not None
        )
        detail = (
            f"mAP {reference.map:.4f} at the reference, {scores.map:.4f} here; the drop's 95 %"
            f" interval over {drop.images} images is {drop.low:+.4f} to {drop.high:+.4f};"
            f" most lost: {classes}"
        )
        values = {
            "map": scores.map,
            "map50": scores.map50,
            "map_drop": drop.drop,
            "map50_drop": _difference(reference.map50, scores.map50),
        }
        return [
            judge_absolute(budget, math.nan if value is None else value, detail)
            for metric, value in values.items()
            if (budget := self._budget(metric)) is not None
        ]

    def figures(self) -> dict[str, float]:
        """Scores and the drop with its interval."""
        scores, drop = self.scores, self.drop
        figures = {
            "map": scores.map,
            "map50": scores.map50,
            "map75": scores.map75,
            "map_drop": drop.drop,
            "map_drop_low": drop.low,
            "map_drop_high": drop.high,
        }
        return {name: value for name, value in figures.items() if value is not None}

    def context(self) -> Mapping[str, str]:
        """Name the images that lost most, and the commonest cause when tensors agree."""
        lines = {}
        if self.drop.worst_images:
            ids = ", ".join(str(image.image_id) for image in self.drop.worst_images)
            lines["images that lost most, by id"] = ids
        try:
            similar = Similarity(self._run).judgements()
        except InferbenchError:  # it has a test of its own, which says so
            similar = []
        if similar and all(judgement.verdict is Verdict.PASS for judgement in similar):
            lines["what to do"] = (
                "the tensors are within their own budgets, so look at pre- and post-processing,"
                " or tighten those"
            )
        return lines


def _faulty(message: str) -> Judgement:
    return Judgement(
        "outputs", Verdict.REGRESSED, "IB-501", math.nan, "", "no faults", detail=message
    )


def _instead_of(metric: str, null: Null, centred: Spread | None) -> str:
    """Say what to do where a cosine's budget lies at or below what a wrong answer scores."""
    others = (
        "give the model data whose outputs differ more, or budget `max_error` or `snr_db` and set"
        f" `{metric} = false`"
    )
    if metric == "cosine" and centred is not None:
        others = f"budget `centred_cosine` (here {centred.min:.6f})"
    if null.max > _ALIKE:
        return f"No budget lies above that, for some outputs are alike: {others}."
    return f"Raise it above that, or {others}."


def _difference(reference: float | None, candidate: float | None) -> float | None:
    return None if reference is None or candidate is None else reference - candidate
