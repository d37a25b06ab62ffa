"""Segmentation: masks beside the reference's, and beside the truth where there is one.

Takes a model's settings and data; gives inputs and scores. Knows neither workers nor budgets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.tasks.base import Mapped, Scores
from pytest_inferbench.tasks.imaging import ImageTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.segmentation import Overlap, Segmented
    from pytest_inferbench.tasks.base import Array, Sample

IMAGES, MASKS = "images", "masks"
"""The folders of images and of their masks, of the same names, below the data's folder."""

_NO_TRUTH = "the data have no true masks (a folder `masks` beside `images`, or arrays of that name)"


class SegmentationTask(ImageTask):
    """A model that gives a class to each pixel, or masks."""

    kind = "segmentation"
    reserved = frozenset({"masks"})

    def _read_images(self, folder: Path, limit: int | None) -> Mapped:
        return super()._read_images(_images_of(folder), limit)

    @cached_property
    def names(self) -> Sequence[str]:
        """What each sample is called."""
        data = self.model.data
        if data is None or self._tensors is not None:
            return super().names
        from pytest_inferbench.accuracy.data import find_files
        from pytest_inferbench.accuracy.images import SUFFIXES

        folder = _images_of(data)
        found = find_files(folder, SUFFIXES, "images", self.model.samples)
        return [file.relative_to(folder).as_posix() for file in found]

    @cached_property
    def truth(self) -> list[Array] | None:
        """The true masks of every sample, cut like its image; None where there are none."""
        data = self.model.data
        if data is None:
            return None
        if (tensors := self._tensors) is not None:
            return tensors.beside("masks")
        if not (data / MASKS).is_dir():
            return None
        from pytest_inferbench.accuracy.crops import fit_mask
        from pytest_inferbench.accuracy.images import read_classes

        return [fit_mask(read_classes(_mask_of(data / MASKS, n)), self.plan) for n in self.names]

    def postprocess(self, outputs: Sequence[Sample]) -> Segmented:
        """Read the masks of every sample."""
        from pytest_inferbench.accuracy.segmentation import fit_truth, segment

        found = segment(self.output_of(outputs), self.model.threshold)
        if self.truth is None:
            return found
        return dataclasses.replace(found, truth=fit_truth(found, self.truth))

    def compare(self, reference: Segmented, candidate: Segmented) -> Scores:
        """Return the overlap with the reference's masks, and with the true ones."""
        from pytest_inferbench.accuracy.segmentation import null_overlap, overlap

        faults = tuple(
            f"{who}, {fault}"
            for who, side in (("the reference", reference), ("the candidate", candidate))
            for fault in side.faults
        )
        if faults:
            return Scores({}, faults=faults)
        figures: dict[str, float] = {}
        details: dict[str, str] = {}
        missing: dict[str, str] = {}
        nulls: dict[str, float] = {}
        classes = _classes(reference, candidate)
        found = overlap(reference.maps, candidate.maps, classes)
        if found is None:
            missing["mask_iou"] = "no mask has a pixel, neither at the reference nor here"
        else:
            figures["mask_iou"] = found.mean
            details["mask_iou"] = self._about(found)
            if (null := null_overlap(reference)) is not None:
                figures["mask_iou_null"] = nulls["mask_iou"] = null
                details["mask_iou"] += f"; masks of different samples reach {null:.3f}"
        before, after = (
            None if side.truth is None else overlap(side.truth, side.maps, side.classes)
            for side in (reference, candidate)
        )
        if before is None or after is None:
            none = reference.truth is None
            why = _NO_TRUTH if none else "no mask has a pixel, neither the true ones nor these"
            missing |= {"miou": why, "miou_drop": why}
        else:
            figures |= {"miou": after.mean, "miou_drop": before.mean - after.mean}
            details["miou"] = details["miou_drop"] = (
                f"mIoU {before.mean:.4f} at the reference, {after.mean:.4f} here; most lost:"
                f" {_most_lost(before, after) or 'no class'}; {self._about(after)}"
            )
        return Scores(figures, details, missing=missing, nulls=nulls)

    def _about(self, found: Overlap) -> str:
        what = "classes" if found.per_class else "masks"
        empty = f", {found.empty} empty ones left out" if found.empty else ""
        return f"mean over {found.counted} {what}{empty}, least at {self.names[found.worst_sample]}"


def _classes(reference: Segmented, candidate: Segmented) -> int | None:
    """Return how many classes either has: integers say no more than the largest that occurs."""
    if (reference.classes is None) != (candidate.classes is None):
        raise InferbenchError("IB-587", "the reference gives classes and the candidate masks")
    if reference.classes is None or candidate.classes is None:
        return None
    return max(reference.classes, candidate.classes)


def _most_lost(before: Overlap, after: Overlap) -> str:
    lost = {k: iou - after.per_class.get(k, 0.0) for k, iou in before.per_class.items()}
    worst = sorted(lost.items(), key=lambda each: -each[1])[:3]
    return ", ".join(f"class {k} {x:+.3f}" for k, x in worst if x > 0)


def _images_of(data: Path) -> Path:
    return data / IMAGES if (data / IMAGES).is_dir() else data


def _mask_of(folder: Path, name: str) -> Path:
    path = folder / PurePosixPath(name).with_suffix(".png")
    if not path.is_file():
        raise InferbenchError(
            "IB-581", f"the image {name} has no mask {path}", "Give all images one, or none."
        )
    return path
