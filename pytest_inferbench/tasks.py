"""Binds a model's data to what its task needs: inputs to run, calibration arrays, a score.

Takes a model's settings and its cache; gives arrays and scores. Knows neither workers nor budgets.
Everything is loaded on first use and shared by all cells of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench import builtin
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.resolve import resolved

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.accuracy.data import Files
    from pytest_inferbench.accuracy.detection import Detections
    from pytest_inferbench.accuracy.ground_truth import GroundTruth
    from pytest_inferbench.accuracy.letterbox import Placement
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.artifacts.inspect import ModelFacts
    from pytest_inferbench.provision import Artifact
    from pytest_inferbench.settings.schema import ModelSettings

    Array = npt.NDArray[Any]
    Sample = Mapping[str, Array]

RANDOM_SAMPLES = 16
_SEED = 20260101


class Task:
    """What a model is run on: random or recorded tensors, unless a task knows better."""

    def __init__(
        self, name: str, model: ModelSettings, cache: ArtifactCache, say: Callable[[str], None]
    ) -> None:
        self.name, self.model, self._cache, self._say = name, model, cache, say

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
        from pytest_inferbench.accuracy.data import load_tensor_inputs

        return load_tensor_inputs(self.model.data, limit=self.model.samples)

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
        from pytest_inferbench.accuracy.data import load_tensor_inputs

        return load_tensor_inputs(self.model.calibration, limit=self.model.calibration_samples)

    def _random(self, samples: int, seed: int) -> Sequence[Sample]:
        from pytest_inferbench.accuracy.data import random_inputs

        return random_inputs(self.facts.inputs, samples, seed, self.model.shapes)


class DetectionTask(Task):
    """A detector with COCO annotations."""

    @cached_property
    def inputs(self) -> Sequence[Sample]:
        """The annotated images, letterboxed."""
        return Mapped(self._images, lambda item: self._sample(item[1]))

    @cached_property
    def data_sha256(self) -> str:
        """What identifies the images in cache keys."""
        return self._images.data_sha256

    def score(self, outputs: Sequence[Sample]) -> CocoScores:
        """Decode one output mapping for every image, and score it against the annotations."""
        from pytest_inferbench.accuracy.coco import evaluate

        return evaluate(self._truth, self._detections(outputs))

    def _detections(self, outputs: Sequence[Sample]) -> Detections:
        from pytest_inferbench.accuracy import detr
        from pytest_inferbench.accuracy.detection import detect

        images = [image.id for image in self._truth.images]
        shapes = {spec.name: spec.shape for spec in self.facts.outputs}
        pair = detr.names_of(shapes) if self.model.layout in ("auto", *detr.LAYOUTS) else None
        if pair is not None:
            logits, boxes = ([sample[name] for sample in outputs] for name in pair)
            return detr.detect(
                logits,
                boxes,
                self._placements,
                images,
                input_size=self._size,
                category_ids=[category.id for category in self._truth.categories],
                layout=self.model.layout,
            )
        if self.model.layout in detr.LAYOUTS:
            raise InferbenchError(
                "IB-547",
                f"models.{self.name} has the outputs {shapes}: layout {self.model.layout!r} needs"
                " two, the logits and the boxes",
                "The boxes have 4 columns, or `box` in their name.",
            )
        output = self.facts.outputs[0].name
        return detect(
            [sample[output] for sample in outputs],
            self._placements,
            images,
            classes=len(self._truth.categories),
            layout=self.model.layout,
        )

    @property
    def _instances(self) -> Path:
        if builtin.is_builtin(self.model):
            return builtin.data_set(self._cache, "val", self._say)
        if self.model.data is None:
            raise InferbenchError(
                "IB-528",
                f"models.{self.name} is a detector without data",
                f"set models.{self.name}.data to a COCO instances.json.",
            )
        return self.model.data

    @cached_property
    def _truth(self) -> GroundTruth:
        from pytest_inferbench.accuracy.data import load_ground_truth

        return load_ground_truth(self._instances, self.model.samples)

    @cached_property
    def _images(self) -> Files[tuple[int, npt.NDArray[np.float32], Placement]]:
        from pytest_inferbench.accuracy.data import load_detection_inputs

        return load_detection_inputs(self._instances, self._size, self.model.samples)

    @cached_property
    def _placements(self) -> list[Placement]:
        return [placement for _, _, placement in self._images]

    @cached_property
    def _calibration_samples(self) -> Sequence[Sample]:
        from pytest_inferbench.accuracy.data import load_calibration_images

        folder = self.model.calibration
        if folder is None and builtin.is_builtin(self.model):
            folder = builtin.data_set(self._cache, "calibration", self._say).parent / "images"
        if folder is None:
            raise InferbenchError(
                "IB-529",
                f"models.{self.name} has no calibration images, which int8 needs",
                f"set models.{self.name}.calibration to a folder of images.",
            )
        images = load_calibration_images(folder, self._size, self.model.calibration_samples)
        return Mapped(images, self._sample)

    @cached_property
    def _size(self) -> tuple[int, int]:
        """Height and width of the model's input."""
        if not self.facts.inputs:
            raise InferbenchError("IB-543", f"models.{self.name} has no input to put images into")
        spec = self.facts.inputs[0]
        shape = self.model.shapes.get(spec.name, spec.shape)
        if len(shape) == 4 and all(isinstance(side, int) and side > 0 for side in shape[2:]):
            return int(shape[2]), int(shape[3])
        raise InferbenchError(
            "IB-543",
            f"the input {spec.name!r} of models.{self.name} has the shape {list(shape)}, which"
            " does not say how large images must be",
            f'set models.{self.name}.shapes = {{ "{spec.name}" = [1, 3, 640, 640] }}.',
        )

    def _sample(self, image: Array) -> Sample:
        from pytest_inferbench.accuracy.data import as_input

        spec = self.facts.inputs[0]
        return {spec.name: as_input(image, spec)}


class Mapped(Sequence["Sample"]):
    """A sequence whose elements are made from another's when they are asked for."""

    def __init__(self, source: Sequence[Any], make: Callable[[Any], Sample]) -> None:
        self.source, self._make = source, make

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(item) for item in self.source[index]]
        return self._make(self.source[index])


def make_task(
    name: str, model: ModelSettings, cache: ArtifactCache, say: Callable[[str], None]
) -> Task:
    """Return the task that a model's settings name."""
    kinds = {"detection": DetectionTask, "tensors": Task}
    return kinds[model.task](name, resolved(model, cache, say), cache, say)


def _sha256(samples: Sequence[Sample]) -> str:
    """Hash the files where samples are files, else the arrays."""
    source = samples.source if isinstance(samples, Mapped) else samples
    of_files: str | None = getattr(source, "data_sha256", None)
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
