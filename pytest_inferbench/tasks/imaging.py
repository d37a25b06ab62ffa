"""What tasks share whose data may be images: a folder of them, or tensors in .npz.

Takes a model's settings and its data; gives inputs, the samples' names, and their labels. Knows
neither scores nor budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.tasks.base import Mapped, Task

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.crops import Plan
    from pytest_inferbench.accuracy.tensor_set import TensorSet
    from pytest_inferbench.tasks.base import Array, Sample


class ImageTask(Task):
    """A task whose data are images, or arrays with something beside them.

    Attributes:
        reserved: Names of arrays in .npz files that are no inputs, unless the model says so.
    """

    reserved: ClassVar[frozenset[str]] = frozenset()

    def preprocess(self, path: Path, limit: int | None) -> Sequence[Sample]:
        """Return images resized, cropped and normalized, or the arrays of .npz files."""
        if _holds_tensors(path):
            from pytest_inferbench.accuracy.tensor_set import load_tensors

            reserved = self.reserved - {spec.name for spec in self.facts.inputs}
            return load_tensors(path, limit, reserved)
        return self._read_images(path, limit)

    @cached_property
    def names(self) -> Sequence[str]:
        """What each sample is called: its path below the data's folder, or its number."""
        data = self.model.data
        if data is None or (tensors := self._tensors) is not None:
            known = None if data is None else tensors
            return known.names if known else [str(i) for i in range(len(self.inputs))]
        from pytest_inferbench.accuracy.data import find_files
        from pytest_inferbench.accuracy.images import SUFFIXES

        found = find_files(data, SUFFIXES, "images", self.model.samples)
        return [file.relative_to(data).as_posix() for file in found]

    @property
    def _tensors(self) -> TensorSet | None:
        """The inputs, where they are tensors of a file."""
        from pytest_inferbench.accuracy.tensor_set import TensorSet

        return self.inputs if isinstance(self.inputs, TensorSet) else None

    def _read_images(self, folder: Path, limit: int | None) -> Mapped:
        from pytest_inferbench.accuracy.crops import to_tensor
        from pytest_inferbench.accuracy.data import Files, as_input, find_files
        from pytest_inferbench.accuracy.images import SUFFIXES, read_rgb

        paths = find_files(folder, SUFFIXES, "images", limit)
        plan, spec = self.plan, self.facts.inputs[0]
        last = self._image_shape()[1]

        def read(index: int) -> Sample:
            tensor = to_tensor(read_rgb(paths[index]), plan)
            ordered = tensor.transpose(0, 2, 3, 1) if last else tensor
            return {spec.name: as_input(ordered, spec)}

        files: Files[Sample] = Files(paths, read, facts=repr((plan, spec.name, spec.dtype, last)))
        return Mapped(files, lambda sample: sample, files.data_sha256)

    @cached_property
    def plan(self) -> Plan:
        """How images become inputs."""
        from pytest_inferbench.accuracy.crops import plan_for

        wanted = self.model.preprocess
        return plan_for(
            self._image_shape()[0],
            wanted.style,
            resize=wanted.resize,
            mean=wanted.mean,
            std=wanted.std,
            scale=wanted.scale,
            interpolation=wanted.interpolation,
        )

    def _image_shape(self) -> tuple[tuple[int, int], bool]:
        """Return height and width of the model's input, and whether channels come last."""
        if len(self.facts.inputs) != 1:
            names = ", ".join(spec.name for spec in self.facts.inputs) or "none"
            raise InferbenchError(
                "IB-543",
                f"models.{self.name} takes {names}, and images fill one input",
                "Give it .npz files with all of its inputs, or export the part that takes images.",
            )
        spec = self.facts.inputs[0]
        shape = self.model.shapes.get(spec.name, spec.shape)
        if len(shape) == 4 and 3 in (shape[1], shape[3]):
            last = shape[1] != 3
            sides = shape[1:3] if last else shape[2:]
            if all(isinstance(side, int) and side > 0 for side in sides):
                return (int(sides[0]), int(sides[1])), last
        raise InferbenchError(
            "IB-543",
            f"the input {spec.name!r} of models.{self.name} has the shape {list(shape)}, which"
            " does not say how large images with three channels must be",
            f'set models.{self.name}.shapes = {{ "{spec.name}" = [1, 3, 224, 224] }}.',
        )

    def output_of(self, outputs: Sequence[Sample]) -> list[Array]:
        """Return the output that the task reads, of every sample.

        Raises:
            InferbenchError: IB-505 if the settings name one that is not there.
        """
        known = [spec.name for spec in self.facts.outputs]
        name = self.model.output or known[0]
        if name not in known:
            raise InferbenchError(
                "IB-505",
                f"models.{self.name}.output is {name!r}, and the model has {', '.join(known)}",
            )
        return [sample[name] for sample in outputs]


def _holds_tensors(path: Path) -> bool:
    """Whether it is an .npz file, or a folder that holds one."""
    return path.is_file() or next(path.rglob("*.npz"), None) is not None
