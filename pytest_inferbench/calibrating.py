"""Ways of quantizing, tried on a real backend: takes a gate and a model, gives trials.

Artifacts are built, cached, opened and judged as the gate's own cells are. What is best, and how
it is shown, is decided elsewhere (`calibration_choice`, `calibration_tables`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.calibration_choice import BUDGETS, Trial, next_count
from pytest_inferbench.cellrun import CellRun
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.handles import Detections, Handle, Similarity
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.report.messages import counted

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.provision import Artifact
    from pytest_inferbench.settings.budgets import Budget
    from pytest_inferbench.tasks import Task

_MIB = 2**20
_RANKED_SAMPLES = 8


class TrialRun(CellRun):
    """A cell whose model is quantized in another way than the settings say."""

    def __init__(self, gate: Gate, cell: Cell, quantization: Mapping[str, object]) -> None:
        super().__init__(gate, cell)
        self.scores: CocoScores | None = None
        self._own_task = quantized(gate.task_of(cell.model), quantization)

    @property
    def task(self) -> Task:
        """The model's task, with its data, which all trials share."""
        return self._own_task


@dataclass
class Search:
    """How accuracy came back with the layers left in float, and why the search ended.

    Attributes:
        layers: Names of nodes, from what costs most.
        points: Trials by how many of these were left in float.
        held: Whether the budget held, by the same.
    """

    budget: Budget
    layers: list[str]
    noise: list[float]
    nameless: int = 0
    points: dict[int, Trial] = field(default_factory=dict)
    held: dict[int, bool] = field(default_factory=dict)
    stopped: str = ""

    @property
    def fewest(self) -> int | None:
        """The fewest layers with which the budget held."""
        return min((count for count, held in self.held.items() if held), default=None)


class Calibration:
    """One model on one backend at one precision."""

    def __init__(self, gate: Gate, model: str, backend: str, precision: str) -> None:
        """Find the cell.

        Raises:
            InferbenchError: IB-571 the settings have no such model, there is no such backend or
                precision; IB-572 the cell cannot run here.
        """
        self.gate, self.model = gate, model
        self.cell = _cell(gate, model, backend, precision)
        self._scores: dict[int, CocoScores] = {}

    @property
    def task(self) -> Task:
        """The model's task as the settings have it."""
        return self.gate.task_of(self.model)

    def try_methods(self, methods: Sequence[Mapping[str, object]]) -> list[Trial]:
        """Try each way; what cannot be built says why."""
        kept = self._kept(("method", "percentile", "per_channel"))
        return [self.attempt({**method, **kept}) for method in methods]

    def attempt(self, quantization: Mapping[str, object]) -> Trial:
        """Build one way, run it on the model's data, and compare it with the reference."""
        label = Trial(quantization).label
        excluded = quantization.get("exclude")
        beside = (
            f", {counted(len(excluded), 'node')} in float" if isinstance(excluded, list) else ""
        )
        self.gate.say(f"{self.cell}: {label}{beside}")
        run = TrialRun(self.gate, self.cell, quantization)
        try:
            begun = time.time()
            artifact = run.artifact
            build_s: float | None = time.time() - begun
            size_mib, built_at = _kept_at(artifact)
            if built_at is not None and built_at < begun:
                build_s = None
            figures, outside = self._measure(run)
            trial = Trial(quantization, figures, size_mib, build_s, outside)
        except InferbenchError as error:
            wrong = error.code == "IB-501"
            return Trial(quantization, failed=str(error), is_wrong=wrong)
        finally:
            run.close()
        if run.scores is not None:
            self._scores[id(trial)] = run.scores
        return trial

    def certain_gain(self, one: Trial, other: Trial) -> float:
        """Return the lower bound of what a trial's mAP is above another's, on the same images."""
        from pytest_inferbench.accuracy.drop import map_drop

        return map_drop(self._scores[id(one)], self._scores[id(other)]).low

    def search(
        self,
        budget: Budget,
        *,
        most_layers: int,
        most_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> Search:
        """Leave more and more layers in float, from the one that costs most, until a budget holds.

        Args:
            budget: What must hold.
            most_layers: Leave no more than so many in float.
            most_s: Begin no trial after so many seconds.
            clock: Tells seconds.
        """
        started = clock()
        search = self._ranked(budget)
        quantizable = len(search.layers) - (search.nameless == 0)  # one of them must be int8
        most = min(most_layers, quantizable)
        settings = _plain_settings(self.task)
        already = list(self.task.model.quantization.exclude)
        while (count := next_count(search.held, most)) is not None:
            if search.points and clock() - started > most_s:
                search.stopped = f"{most_s:.0f} s were used up (--time)"
                return search
            exclude = [*already, *search.layers[:count]]
            trial = self.attempt({**settings, **({"exclude": exclude} if exclude else {})})
            search.points[count] = trial
            if trial.failed and not trial.is_wrong:
                search.stopped = f"with {counted(count, 'layer')} in float: {trial.failed}"
                return search
            if trial.figures and budget.metric not in trial.figures:
                raise _no_figure(budget.metric, trial)
            search.held[count] = bool(trial.figures) and budget.holds(trial.figures[budget.metric])
        search.stopped = _why(search, most)
        return search

    def budget(self, written: str | None) -> Budget:
        """Read `map_drop=0.01`, or take what the settings say of the first figure that has one.

        Raises:
            InferbenchError: IB-573 it cannot be read.
        """
        from pytest_inferbench.settings.budgets import parse_budget
        from pytest_inferbench.settings.metrics import METRICS

        if written is None:
            return self._own_budget()
        metric, _, limit = written.partition("=")
        try:
            if metric not in BUDGETS:
                raise ValueError(f"a search is bound to one of {', '.join(BUDGETS)}")
            found = parse_budget(METRICS[metric], float(limit))
        except ValueError as error:
            raise InferbenchError(
                "IB-573",
                f"{written!r} is no budget for a search: {error}",
                "Such as --budget map_drop=0.01, or --budget centred_cosine=0.99.",
            ) from error
        assert found is not None
        return found

    def _own_budget(self) -> Budget:
        cell = self.cell
        for metric in BUDGETS:
            found = self.gate.settings.budget(self.model, metric, cell.precision, cell.hardware)
            if found is not None:
                return found
        raise InferbenchError(
            "IB-573",
            f"models.{self.model} has no budget that a search could be bound to",
            "Name one: --budget map_drop=0.01, or --budget centred_cosine=0.99.",
        )

    def _ranked(self, budget: Budget) -> Search:
        from pytest_inferbench.artifacts.plan import ranking_step
        from pytest_inferbench.provision import provide_step

        info = self.gate.catalog[self.cell.backend]
        scheme = {"scheme": "trt"} if info.family.startswith("trt") else {}
        recipe = ranking_step(
            self.cell.precision,
            {**_plain_settings(self.task), **scheme, **info.recipe_options},
            _RANKED_SAMPLES,
        )
        self.gate.say(f"{self.cell}: quantizing each layer alone, to see what it costs")
        facts = provide_step(self.gate, self.cell, self.task, recipe).facts
        named = [each for each in facts["layers"] if each["excludable"]]
        return Search(
            budget,
            [each["name"] for each in named],
            [float(each["noise"]) for each in named],
            len(facts["layers"]) - len(named),
        )

    def _measure(self, run: TrialRun) -> tuple[dict[str, float], tuple[str, ...]]:
        similarity = Similarity(run)
        handles: list[Handle] = [similarity]
        result = similarity.result
        result.check()
        worst = result.worst
        figures = {"cosine": worst.cosine.min, "cosine_mean": worst.cosine.mean}
        if worst.centred is not None:
            figures |= {"centred_cosine": worst.centred.min, "centred_mean": worst.centred.mean}
        if run.task.model.task == "detection":
            detections = Detections(run)
            handles.append(detections)
            run.scores = detections.scores
            drop = detections.drop
            figures |= {
                "map": detections.scores.map or 0.0,
                "map_drop": drop.drop,
                "map_drop_low": drop.low,
                "map_drop_high": drop.high,
            }
        return figures, tuple(
            judgement.metric
            for handle in handles
            for judgement in handle.judgements()
            if judgement.verdict is not Verdict.PASS
        )

    def _kept(self, but: Sequence[str]) -> dict[str, object]:
        """What the settings say of the model's quantization, but for some keys."""
        return {k: v for k, v in _plain_settings(self.task).items() if k not in but}


def quantized(task: Task, quantization: Mapping[str, object]) -> Task:
    """Return a task whose model is quantized so, with the same data.

    What the task has loaded is shared: samples are read once for all trials.
    """
    from pytest_inferbench.settings.schema import QuantizationSettings

    _ = task.calibration, task.calibration_sha256, task.data_sha256
    other = copy.copy(task)
    settings = msgspec.convert(dict(quantization), QuantizationSettings)
    other.model = msgspec.structs.replace(task.model, quantization=settings)
    return other


def with_samples(gate: Gate, model: str, samples: int | None) -> None:
    """Have a gate run a model on its first samples alone; before anything is loaded."""
    if samples is not None and model in gate.settings.models:
        models = dict(gate.settings.models)
        models[model] = msgspec.structs.replace(models[model], samples=samples)
        gate.settings = msgspec.structs.replace(gate.settings, models=models)


def _plain_settings(task: Task) -> dict[str, object]:
    """Return what the settings say of the quantization beyond the defaults."""
    from pytest_inferbench.settings.schema import QuantizationSettings

    default = msgspec.structs.asdict(QuantizationSettings())
    own = msgspec.structs.asdict(task.model.quantization)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in own.items()
        if value != default[key]
    }


def _cell(gate: Gate, model: str, backend: str, precision: str) -> Cell:
    for what, name, known in (
        ("model", model, tuple(gate.settings.models)),
        ("backend", backend, tuple(gate.catalog)),
        ("precision that is calibrated", precision, ("int8", "fp8")),
    ):
        if name not in known:
            raise InferbenchError(
                "IB-571", f"there is no {what} {name!r}", f"There are {', '.join(known)}."
            )
    cells = gate.matrix_of(model, [backend], [precision])
    able = [cell for cell in cells if not cell.cannot_run]
    if not able:
        why = next((cell.cannot_run for cell in cells), "the backend has no such precision")
        raise InferbenchError(
            "IB-572",
            f"{model} on {backend} at {precision} cannot run here: {why}",
            "`inferbench doctor` lists what can.",
        )
    return able[0]


def _kept_at(artifact: Artifact) -> tuple[float | None, float | None]:
    """Return an artifact's size in MiB and when it was written, where it is on this host."""
    path = Path(artifact.path)
    if not path.is_file():
        return None, None
    size = artifact.facts.get("bytes", path.stat().st_size)
    return float(size) / _MIB, path.stat().st_mtime


def _why(search: Search, most: int) -> str:
    said, fewest = f"{search.budget.metric} {search.budget.text}", search.fewest
    if fewest == 0:
        return f"{said} holds with every layer quantized"
    if fewest is not None:
        return f"{said} holds with {counted(fewest, 'layer')} in float, and with no fewer tried"
    if most < len(search.layers) - 1:
        return (
            f"{said} fails with {counted(most, 'layer')} in float, and --max-layers allows no more"
        )
    return f"{said} fails with all layers in float but one: int8 leaves nothing to gain here"


def _no_figure(metric: str, trial: Trial) -> InferbenchError:
    return InferbenchError(
        "IB-573",
        f"a search cannot be bound to {metric} here: this model has {', '.join(trial.figures)}",
        "Name another one with --budget.",
    )


def plain_search(search: Search) -> dict[str, Any]:
    """Return a search as plain types, but for its trials."""
    return {
        "budget": {"metric": search.budget.metric, "limit": search.budget.limit},
        "layers": [
            {"name": name, "noise": noise}
            for name, noise in zip(search.layers, search.noise, strict=True)
        ],
        "layers_without_a_name": search.nameless,
        "held": search.held,
        "fewest": search.fewest,
        "stopped": search.stopped,
    }
