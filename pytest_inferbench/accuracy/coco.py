"""Average precision of detections, as COCO defines it.

Takes checked annotations and detections; gives scores and the matches behind them. Who computes the
precision is for `coco_judge` to say. Pure: knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy import coco_judge
from pytest_inferbench.accuracy.detection import Detections
from pytest_inferbench.accuracy.ground_truth import GroundTruth
from pytest_inferbench.accuracy.matching import Found, Matches, Objects
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.spelling import nearest

AREAS = ("all", "small", "medium", "large")  # up to 32 x 32 pixels, up to 96 x 96, above
IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class ClassMatches:
    """How the detections of one class met its objects, best first; areas of all sizes.

    Attributes:
        image: The image of each detection, as a number into `CocoScores.image_ids`.
        hits: Whether it found an object, by IoU and detection.
        ignored: Whether it counts neither for nor against (it lies on a crowd).
        objects: How many objects there are to find in each image.
    """

    image: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CocoScores:
    """What detections are worth; None where there is no object to find.

    Attributes:
        map: Over IoU 0.50 to 0.95, every class and size.
        small: The same over objects of up to 32 x 32 pixels; medium is up to 96 x 96.
        per_class: The same by the category's name.
        images: How many images were scored.
        precision: pycocotools' table by IoU, recall, class and area; -1 where there is no object.
    """

    map: float | None
    map50: float | None
    map75: float | None
    small: float | None
    medium: float | None
    large: float | None
    per_class: Mapping[str, float | None]
    images: int
    image_ids: tuple[int, ...] = field(repr=False)
    matches: tuple[ClassMatches, ...] = field(repr=False, compare=False)
    precision: npt.NDArray[np.float64] = field(repr=False, compare=False)

    def ap(self, area: str = "all", iou: float | None = None, label: str | None = None) -> float:
        """Return the average precision of a part.

        Args:
            area: One of `AREAS`.
            iou: One of `IOUS`; None averages over all of them.
            label: A category's name; None averages over all of them.

        Raises:
            InferbenchError: IB-532 if the data has no such object, or no such part.
        """
        labels = tuple(self.per_class)
        row = slice(None) if iou is None else _position("IoU", iou, IOUS)
        column = slice(None) if label is None else _position("label", label, labels)
        part = self.precision[row, :, column, _position("area", area, AREAS)]
        value = _mean(part)
        if value is None:
            of = "" if label is None else f" of {label!r}"
            raise InferbenchError(
                "IB-532",
                f"the data has no object{of} of area {area!r}, so there is no precision to state",
            )
        return value


def evaluate(ground_truth: GroundTruth, detections: Detections) -> CocoScores:
    """Score detections against annotations with pycocotools, or what stands in for it.

    A detection of class ``i`` is one of the ``i``-th category by ascending id.

    Raises:
        InferbenchError: IB-534 without pycocotools, IB-535 if what is installed does not give its
            digits, IB-531 if the detections are not of exactly these images and categories.
    """
    _check_detections(ground_truth, detections)
    image_ids = tuple(sorted(image.id for image in ground_truth.images))
    precision, matches = coco_judge.score(
        list(_classes(ground_truth, detections, np.array(image_ids, np.int64)))
    )
    names = [category.name for category in ground_truth.categories]
    return CocoScores(
        map=_mean(precision[:, :, :, 0]),
        map50=_mean(precision[0, :, :, 0]),
        map75=_mean(precision[5, :, :, 0]),
        small=_mean(precision[:, :, :, 1]),
        medium=_mean(precision[:, :, :, 2]),
        large=_mean(precision[:, :, :, 3]),
        per_class={name: _mean(precision[:, :, k, 0]) for k, name in enumerate(names)},
        images=len(image_ids),
        image_ids=image_ids,
        matches=tuple(_class_matches(each, len(image_ids)) for each in matches),
        precision=precision,
    )


def _position(what: str, value: Any, known: tuple[Any, ...]) -> int:
    if value in known:
        return known.index(value)
    near = nearest(str(value), [str(k) for k in known])
    raise InferbenchError(
        "IB-532",
        f"there is no {what} {value!r}" + (f"; did you mean {near!r}?" if near else ""),
        f"known: {', '.join(map(str, known))}",
    )


def _mean(part: npt.NDArray[np.float64]) -> float | None:
    known = part[part > -1]  # exactly as COCOeval.summarize does, down to the order of the sum
    return float(np.mean(known)) if known.size else None


def _check_detections(truth: GroundTruth, detections: Detections) -> None:
    expected, run = {image.id for image in truth.images}, set(detections.images)
    if run != expected or not run.issuperset(detections.image_ids.tolist()):
        raise InferbenchError(
            "IB-531",
            f"{len(run & expected)} of the {len(expected)} images of {truth.name} were run, "
            f"and {len((run | set(detections.image_ids.tolist())) - expected)} others",
            "score all of them, or the part that ground_truth.first(limit) gives",
        )
    labels = detections.labels
    if labels.size and not 0 <= labels.min() <= labels.max() < len(truth.categories):
        raise InferbenchError(
            "IB-531",
            f"a detection has class {labels.min() if labels.min() < 0 else labels.max()}, "
            f"and {truth.name} has {len(truth.categories)} categories",
            "were the model and the data set made for the same classes?",
        )
    boxes = detections.boxes_xyxy
    bad = ~np.isfinite(boxes).all(axis=1) | ~np.isfinite(detections.scores)
    bad |= (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InferbenchError(
            "IB-531",
            f"{int(bad.sum())} detections are not finite or inside out, the first on image "
            f"{detections.image_ids[row]}: box {boxes[row].tolist()}, "
            f"score {detections.scores[row]}",
        )


def _classes(
    truth: GroundTruth, detections: Detections, image_ids: npt.NDArray[np.int64]
) -> Iterator[tuple[Objects, Found]]:
    """Yield each category's objects and detections; images are numbers into `image_ids`."""
    annotations = truth.annotations
    boxes = np.array([a.bbox for a in annotations], np.float64)
    stated = [np.nan if a.area is None else a.area for a in annotations]
    objects = Objects(
        np.searchsorted(image_ids, [a.image_id for a in annotations]),
        boxes,
        np.where(np.isnan(stated), boxes[:, 2] * boxes[:, 3], stated),
        np.array([bool(a.iscrowd) for a in annotations]),
    )
    sizes = detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2]
    found = Found(
        np.searchsorted(image_ids, detections.image_ids),
        np.concatenate([detections.boxes_xyxy[:, :2], sizes], axis=1),
        sizes[:, 0] * sizes[:, 1],
        detections.scores,
    )
    categories = np.array([a.category_id for a in annotations], np.int64)
    for label, category in enumerate(truth.categories):
        of_class = categories == category.id
        yield objects.take(of_class), found.take(detections.labels == label)


def _class_matches(each: Matches, images: int) -> ClassMatches:
    """Return the matches over all sizes, sorted as `COCOeval.accumulate` sorts them."""
    order = np.argsort(-each.scores, kind="mergesort")
    matched, ignored = each.matched[0], each.ignored[0]
    to_find = each.object_image[~each.object_ignored[0]]
    return ClassMatches(
        image=each.image[order],
        scores=each.scores[order],
        hits=(matched & ~ignored)[:, order],
        ignored=ignored[:, order],
        objects=np.bincount(to_find, minlength=images),
    )
