"""COCO annotations, checked.

Takes the text of an ``instances.json``; gives images, categories and objects that a judge can
rely on. Pure: knows neither files nor detections.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from pytest_inferbench.errors import InferbenchError


class Image(msgspec.Struct, frozen=True):
    """An entry of ``images``."""

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class Category(msgspec.Struct, frozen=True):
    """An entry of ``categories``."""

    id: int
    name: str


class Annotation(msgspec.Struct, frozen=True):
    """An entry of ``annotations``; `bbox` is x, y, width, height in pixels."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float | None = None
    iscrowd: int | bool = 0


class _File(msgspec.Struct):
    images: list[Image] = []
    categories: list[Category] = []
    annotations: list[Annotation] = []


@dataclass(frozen=True)
class GroundTruth:
    """Checked annotations.

    Attributes:
        name: Where they come from, for messages.
        categories: By ascending id: a model's class 0 is the first of them.
    """

    name: str
    images: tuple[Image, ...]
    categories: tuple[Category, ...]
    annotations: tuple[Annotation, ...]

    def first(self, limit: int | None) -> GroundTruth:
        """Return the part that is about the first `limit` images; all of it for None."""
        if limit is None:
            return self
        images = self.images[:limit]
        ids = {image.id for image in images}
        kept = tuple(a for a in self.annotations if a.image_id in ids)
        name = f"{self.name} (its first {len(images)} images)"
        return _checked(GroundTruth(name, images, self.categories, kept))


def parse_ground_truth(text: bytes | str, name: str) -> GroundTruth:
    """Read and check COCO annotations.

    Args:
        text: The JSON.
        name: What to call it in errors, such as its path.

    Raises:
        InferbenchError: IB-520 for what is not COCO JSON, IB-521 without images, IB-522 without
            annotations or categories, IB-523 for an annotation of a missing image or category,
            IB-524 for ids or names that occur twice, IB-525 for a box that is none.
    """
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "COCO annotations" if isinstance(error, msgspec.ValidationError) else "JSON"
        raise InferbenchError("IB-520", f"{name} is not {what}: {error}") from error
    categories = tuple(sorted(file.categories, key=lambda category: category.id))
    return _checked(GroundTruth(name, tuple(file.images), categories, tuple(file.annotations)))


def _checked(truth: GroundTruth) -> GroundTruth:
    name = truth.name
    if not truth.images:
        raise InferbenchError("IB-521", f"{name} has no images")
    for what, entries in (("annotations", truth.annotations), ("categories", truth.categories)):
        if not entries:
            raise InferbenchError(
                "IB-522", f"{name} has no {what}: there is nothing to score detections against"
            )
    _check_unique(name, "image id", [image.id for image in truth.images])
    _check_unique(name, "image file", [image.file_name for image in truth.images])
    _check_unique(name, "category id", [category.id for category in truth.categories])
    _check_unique(name, "category name", [category.name for category in truth.categories])
    _check_unique(name, "annotation id", [annotation.id for annotation in truth.annotations])
    images = {image.id for image in truth.images}
    categories = {category.id for category in truth.categories}
    _check_named(name, "image", images, [(a.id, a.image_id) for a in truth.annotations])
    _check_named(name, "category", categories, [(a.id, a.category_id) for a in truth.annotations])
    for annotation in truth.annotations:
        box, area = annotation.bbox, annotation.area or 0.0
        sound = len(box) == 4 and min(box[2:]) > 0 and area >= 0
        if not sound or not all(map(math.isfinite, [*box, area])):
            raise InferbenchError(
                "IB-525",
                f"annotation {annotation.id} of {name} has the bbox {box} "
                f"and the area {annotation.area}",
                "a bbox is [x, y, width, height], finite, with a positive width and height; "
                "an area is not negative",
            )
    return truth


def _check_unique(name: str, what: str, values: Sequence[int | str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise InferbenchError(
            "IB-524",
            f"{name} has {what} {repeated[0]!r} more than once; {len(repeated)} such in all",
        )


def _check_named(name: str, what: str, known: set[int], pairs: Iterable[tuple[int, int]]) -> None:
    missing = [pair for pair in pairs if pair[1] not in known]
    if missing:
        raise InferbenchError(
            "IB-523",
            f"{name}: annotation {missing[0][0]} is about {what} {missing[0][1]}, "
            f"which is not listed; {len(missing)} such annotations in all",
        )
