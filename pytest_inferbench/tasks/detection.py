"""Detection: images letterboxed, boxes scored against COCO annotations.

Takes a model's settings and its cache; gives inputs, detections and their scores. Knows neither
workers nor budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench import builtin
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.tasks.base import Mapped, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_inferbench.accuracy.coco import CocoScores
    from pytest_inferbench.accuracy.data import Files
    from pytest_inferbench.accuracy.detection import Detections
    from pytest_inferbench.accuracy.ground_truth import GroundTruth
    from pytest_inferbench.accuracy.letterbox import Placement
    from pytest_inferbench.tasks.base import Array, Sample


class DetectionTask(Task):
    """A detector with COCO annotations."""

    kind = "detection"
    needs_data = True

    @cached_property
    def inputs(self) -> Sequence[Sample]:
        """The annotated images, letterboxed."""
        return Mapped(self._images, lambda item: self._sample(item[1]))

    @cached_property
    def data_sha256(self) -> str:
        """What identifies the images in cache keys."""
        return self._images.data_sha256

    def postprocess(self, outputs: Sequence[Sample]) -> Detections:
        """Decode one output mapping for every image."""
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

    def score(self, outputs: Sequence[Sample]) -> CocoScores:
        """Score what is detected against the annotations."""
        from pytest_inferbench.accuracy.coco import evaluate

        return evaluate(self._truth, self.postprocess(outputs))

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
        return Mapped(images, self._sample, images.data_sha256)

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
