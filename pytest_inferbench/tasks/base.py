"""What a task is: how a model's data become inputs, and what its outputs are worth.

Takes a model's settings and its cache; gives arrays and scores. Knows neither budgets nor how
outputs are made. Everything is loaded on first use and shared by all cells of the model.

A task of your own is a subclass with a name; docs/tasks.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.artifacts.inspect import ModelFacts
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.provision import Artifact
    from pytest_inferbench.settings.metrics import Metric
    from pytest_inferbench.settings.schema import ModelSettings

    Array = npt.NDArray[Any]
    Sample = Mapping[str, Array]

RANDOM_SAMPLES = 16
_SEED = 20260101


@dataclass(frozen=True)
class Scores:
    """What a cell's outputs are worth beside the reference's.

    Attributes:
        figures: Every number by name; one that is named like a metric may have a budget. What
            cannot be had from this data is left out, never NaN.
        details: By metric, what stands beside its figure in a message; the key "" is for all.
        context: What a failure's message says below the figures: label -> text.
        faults: Why there is no honest figure; each is a failure, whatever the budgets.
        missing: By metric, why its figure cannot be had, for who set a budget on it.
        nulls: By metric, the figure that a wrong answer gets here: a budget that does not lie on
            its better side tells nothing, and is refused.
    """

    figures: Mapping[str, float]
    details: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    nulls: Mapping[str, float] = field(default_factory=dict)


class Task:
    """What a model is run on, and what its outputs mean: by itself, tensors and nothing more.

    Attributes:
        kind: What `task = "..."` of the settings calls it.
        metrics: The figures of its own that budgets may name, with their defaults.
        needs_data: Whether `data` must be set; without, the inputs are random tensors.
    """

    kind: ClassVar[str] = "tensors"
    metrics: ClassVar[tuple[Metric, ...]] = ()
    needs_data: ClassVar[bool] = False

    def __init__(
        self, name: str, model: ModelSettings, cache: ArtifactCache, say: Callable[[str], None]
    ) -> None:
        self.name, self.model, self._cache, self._say = name, model, cache, say

    def preprocess(self, path: Path, limit: int | None) -> Sequence[Sample]:
        """Return the samples of a file or folder, each an array by input name.

        It is called for `data` and for `calibration` alike.

        Args:
            path: As the settings name it.
            limit: Take only this many, the first ones.
        """
        from pytest_inferbench.accuracy.tensor_set import load_tensors

        return load_tensors(path, limit)

    def infer(self, run: CellRun, sample: Sample) -> Sample:
        """Return a cell's outputs for one sample; a task may ask the cell more than once."""
        return run.infer(sample)

    def tensors(self, outputs: Sequence[Sample]) -> Sequence[Sample]:
        """Return the part of outputs that is compared element by element."""
        return outputs

    def postprocess(self, outputs: Sequence[Sample]) -> Any:
        """Return what outputs mean, one mapping for every sample: boxes, vectors, text."""
        return outputs

    def score(self, outputs: Sequence[Sample]) -> Any:
        """Return what outputs are worth by themselves; the reference's is computed once."""
        return self.postprocess(outputs)

    def compare(self, reference: Any, candidate: Any) -> Scores:  # noqa: ARG002
        """Return the figures of a cell.

        Args:
            reference: What `score` gave for the reference's outputs.
            candidate: What it gave for the cell's.
        """
        return Scores({})

    @cached_property
    def facts(self) -> ModelFacts:
        """The model's hash, inputs and outputs."""
        from pytest_inferbench.artifacts.inspect import inspect

        return inspect(self.model.path)

    def source(self, kind: str) -> Artifact:
        """Return what the model's `sources` name for backends that do not run its ONNX file."""
        from pytest_inferbench.artifacts.cache import sha256_of
        from pytest_inferbench.provision import Artifact

        place = self.model.sources[kind]
        if "://" in place:
            return Artifact(place, "")
        if not Path(place).is_file():
            raise InferbenchError(
                "IB-401",
                f"there is no file {place}",
                f"Check models.{self.name}.sources.{kind} in the settings.",
            )
        return Artifact(place, sha256_of(Path(place)))

    @cached_property
    def inputs(self) -> Sequence[Sample]:
        """One mapping of input name to array for every sample."""
        if self.model.data is None:
            return self._random(self.model.samples or RANDOM_SAMPLES, _SEED)
        return self.preprocess(self.model.data, self.model.samples)

    @cached_property
    def data_sha256(self) -> str:
        """What identifies the inputs in cache keys."""
        return _sha256(self.inputs)

    @cached_property
    def calibration(self) -> Mapping[str, Array]:
        """The samples that int8 is calibrated on, by input, stacked on a leading axis."""
        return _stacked(self._calibration_samples)

    @cached_property
    def calibration_sha256(self) -> str:
        """What identifies the calibration samples in cache keys."""
        return _sha256(self._calibration_samples)

    @cached_property
    def _calibration_samples(self) -> Sequence[Sample]:
        """Never the samples that are scored, unless the user gives the same folder."""
        if self.model.calibration is None:
            return self._random(self.model.calibration_samples, _SEED + 1)
        return self.preprocess(self.model.calibration, self.model.calibration_samples)

    def _random(self, samples: int, seed: int) -> Sequence[Sample]:
        from pytest_inferbench.accuracy.data import random_inputs

        return random_inputs(self.facts.inputs, samples, seed, self.model.shapes)


class Mapped(Sequence["Sample"]):
    """A sequence whose elements are made from another's when they are asked for.

    Attributes:
        data_sha256: What identifies its elements in cache keys; None hashes the elements.
    """

    def __init__(
        self,
        source: Sequence[Any],
        make: Callable[[Any], Sample],
        data_sha256: str | None = None,
    ) -> None:
        self.source, self._make, self.data_sha256 = source, make, data_sha256

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(item) for item in self.source[index]]
        return self._make(self.source[index])


def _sha256(samples: Sequence[Sample]) -> str:
    """Hash the files where samples are files, else the arrays."""
    of_files: str | None = getattr(samples, "data_sha256", None)
    if of_files is not None:
        return of_files
    from pytest_inferbench.accuracy.data import samples_sha256

    return samples_sha256(samples)


def _stacked(samples: Sequence[Sample]) -> Mapping[str, Array]:
    import numpy as np

    read = list(samples)
    forms = [{name: (each.dtype.name, each.shape) for name, each in one.items()} for one in read]
    odd = next((i for i, form in enumerate(forms) if form != forms[0]), None)
    if odd is not None:
        raise InferbenchError(
            "IB-546",
            f"calibration sample {odd + 1} holds {_form(forms[odd])}, and the first one holds"
            f" {_form(forms[0])}: they are calibrated on together",
            "Give all of them the same arrays, of one type and shape.",
        )
    return {name: np.stack([sample[name] for sample in read]) for name in forms[0]}


def _form(form: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name}: {dtype} {list(shape)}" for name, (dtype, shape) in form.items())
