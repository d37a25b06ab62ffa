"""What a test holds for accuracy: lazy figures of one cell, with their judgements.

Takes a cell's run and the settings' budgets; gives figures and judgements. The arithmetic is in
`accuracy/` and `judge/`, the work in `cellrun.py`; timing has its own file, `timing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import (
    Judgement,
    Verdict,
    judge_absolute,
    judge_drop,
    samples_to_tell,
)
from pytest_inferbench.tasks.detection import DetectionTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.accuracy.drop import Drop
    from pytest_inferbench.accuracy.similarity import OutputSimilarity
    from pytest_inferbench.accuracy.similarity import Similarity as Comparison
    from pytest_inferbench.baselines.differences import Difference
    from pytest_inferbench.bisect import Located
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.judge.similar import Limits
    from pytest_inferbench.settings.budgets import Budget


class Handle:
    """A measurement of one cell, made on first use."""

    kind = ""
    is_optional = False
    """Whether it is measured for its figures' sake where no budget asks for a verdict."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def judgements(self) -> list[Judgement]:
        """Judge against every budget that applies."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """The numbers for tables and results."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What results hold beside the figures, as plain types."""
        return {}

    def traced(self) -> dict[str, Any]:
        """Which file its figures are of, and what that ran with, as plain types."""
        from pytest_inferbench.evidence import traced

        return traced(self._run)

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

        gate, cell, task = self._run.gate, self._run.cell, self._run.task
        reference = task.tensors(gate.reference_of(cell.model).outputs)
        return compare(
            reference,
            task.tensors(self._run.outputs),
            rtol=task.model.rtol,
            atol=task.model.atol,
        )

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
            return [faulty(str(fault)) for fault in self.result.faults[:5]]
        from pytest_inferbench.judge.similar import judge_similarity

        return judge_similarity(self.result, self._limits)

    def _limits(self, metric: str) -> Limits:
        from pytest_inferbench.judge.similar import Limits

        cell, settings = self._run.cell, self._run.gate.settings
        own = settings.output_budgets(cell.model, metric, cell.precision, cell.hardware)
        return Limits(self._budget(metric), own)

    def figures(self) -> dict[str, float]:
        """Cosines and errors, the null beside them; none where there are faults."""
        if self.result.faults:
            return {}
        worst = self.result.worst
        figures = _figures_of(worst)
        if worst.centred_null is not None:
            figures["centred_cosine_null"] = worst.centred_null.high
        if len(self.result.outputs) > 1:
            for row in self.result.outputs.values():
                own = _figures_of(row)
                figures |= {f"outputs.{row.output}.{name}": own[name] for name in own}
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
        scores: CocoScores = self._run.gate.reference_of(self._run.cell.model).scores
        return scores

    @cached_property
    def drop50(self) -> Drop:
        """The same at IoU 0.50 alone."""
        from pytest_inferbench.accuracy.drop import map_drop

        return map_drop(self._reference, self.scores, iou=0.5)

    def judgements(self) -> list[Judgement]:
        """Judge mAP and its drop."""
        drop, scores, reference = self.drop, self.scores, self._reference
        reached = f"mAP {reference.map:.4f} at the reference, {scores.map:.4f} here"
        judgements = [
            judge_absolute(
                budget, math.nan if value is None else value, f"{reached}; {_lost(drop)}"
            )
            for metric, value in (("map", scores.map), ("map50", scores.map50))
            if (budget := self._budget(metric)) is not None
        ]
        if (budget := self._budget("map_drop")) is not None:
            judgements.append(_judge_drop(budget, drop, reached))
        if (budget := self._budget("map50_drop")) is not None:
            judgements.append(_judge_drop(budget, self.drop50, reached))
        return judgements

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
        made = self._run.artifact.facts
        if "method" in made:
            samples = self._run.task.model.calibration or "the samples that the task has for it"
            lines["calibrated"] = f"by {made['method']} on {made['samples']} of {samples}"
        try:
            similar = Similarity(self._run).judgements()
        except InferbenchError:  # it has a test of its own, which says so
            similar = []
        if similar and all(judgement.verdict is Verdict.PASS for judgement in similar):
            lines["what to do"] = self._advice
        return lines

    @property
    def _advice(self) -> str:
        """What to look at where the tensors agree as far as their budgets ask, and scores do not.

        What eight bits may change in a tensor is enough to cost this much; other precisions leave
        nothing but the way in and the way out.
        """
        cell = self._run.cell
        elsewhere = "pre- and post-processing, or tighten those"
        if cell.precision not in ("int8", "fp8"):
            return f"the tensors are within their own budgets, so look at {elsewhere}"
        return (
            f"the tensors are within their own budgets, which at {cell.precision} are wide: do the"
            f" calibration samples look like the data? `inferbench calibrate {cell.model} --backend"
            f" {cell.backend}` compares ways to calibrate on them; then look at {elsewhere}"
        )


def _figures_of(row: OutputSimilarity) -> dict[str, float]:
    figures = {
        "cosine": row.cosine.min,
        "cosine_mean": row.cosine.mean,
        "cosine_p1": row.cosine.p1,
        "max_error": row.max_error,
        "mean_error": row.mean_error,
        "outside": row.outside,
        "snr_db": row.snr_db,
    }
    if row.null is not None:
        figures["cosine_null"] = row.null.high
    if row.centred is not None:
        figures["centred_cosine"] = row.centred.min
    return figures


def faulty(message: str) -> Judgement:
    """Return the judgement of outputs of which no figure would be honest."""
    return Judgement(
        "outputs", Verdict.REGRESSED, "IB-501", math.nan, "", "no faults", detail=message
    )


def _judge_drop(budget: Budget, drop: Drop, reached: str) -> Judgement:
    judgement = judge_drop(budget, drop.drop, drop.low, f"{reached}; {_lost(drop)}")
    if judgement.verdict is not Verdict.INCONCLUSIVE:
        return judgement
    needed = samples_to_tell(drop.images, drop.drop, drop.low)
    return replace(
        judgement,
        detail=f"{judgement.detail}; no loss lies inside that interval, so this may be the luck of"
        f" these images: about {needed} would tell",
    )


def _lost(drop: Drop) -> str:
    """Say how sure the drop is, and which classes lost most."""
    lost = sorted((-ap, name) for name, ap in drop.per_class.items() if ap is not None)
    classes = ", ".join(f"{name} {-ap:+.3f}" for ap, name in lost[:3])
    return (
        f"the drop's {drop.confidence:.0%} interval over {drop.images} images is {drop.low:+.4f}"
        f" to {drop.high:+.4f}; most lost of {len(lost)} classes: {classes}"
    )
