"""Average precision of detections, as COCO defines it.

Takes checked annotations and detections; gives scores and the matches behind them. pycocotools is
the judge of record. Pure: knows neither files nor models.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.detection import Detections
from pytest_inferbench.accuracy.ground_truth import GroundTruth
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
    """Score detections against annotations with pycocotools.

    A detection of class ``i`` is one of the ``i``-th category by ascending id.

    Raises:
        InferbenchError: IB-534 without pycocotools, IB-531 if the detections are not of exactly
            these images and categories.
    """
    _check_detections(ground_truth, detections)
    judge = _run_pycocotools(ground_truth, detections)
    precision = judge.eval["precision"][..., -1]  # the last is 100 detections an image
    image_ids = tuple(int(i) for i in judge.params.imgIds)
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
        matches=tuple(_class_matches(judge, k) for k in range(len(names))),
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


def _run_pycocotools(truth: GroundTruth, detections: Detections) -> Any:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except (ImportError, ValueError) as error:  # ValueError: built for another numpy
        raise InferbenchError(
            "IB-534",
            f"detections are scored by pycocotools, which cannot be imported: {error}",
            "install the extra: pip install 'pytest-inferbench[coco]'",
        ) from error
    annotated, detected = COCO(), COCO()
    annotated.dataset = _annotation_rows(truth)
    detected.dataset = {**annotated.dataset, "annotations": _detection_rows(truth, detections)}
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by printing
        annotated.createIndex()
        detected.createIndex()
        judge = COCOeval(annotated, detected, "bbox")
        judge.evaluate()
        judge.accumulate()
    return judge


def _annotation_rows(truth: GroundTruth) -> dict[str, list[dict[str, Any]]]:
    return {
        "images": [{"id": image.id} for image in truth.images],
        "categories": [{"id": category.id} for category in truth.categories],
        "annotations": [
            {
                "id": number,  # not its own: pycocotools takes an object with id 0 for unmatched
                "image_id": a.image_id,
                "category_id": a.category_id,
                "bbox": a.bbox,
                "area": a.bbox[2] * a.bbox[3] if a.area is None else a.area,
                "iscrowd": int(a.iscrowd),
            }
            for number, a in enumerate(truth.annotations, start=1)
        ],
    }


def _detection_rows(truth: GroundTruth, detections: Detections) -> list[dict[str, Any]]:
    sizes = detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2]
    columns = (
        detections.image_ids.tolist(),
        detections.labels.tolist(),
        np.concatenate([detections.boxes_xyxy[:, :2], sizes], axis=1).tolist(),
        np.prod(sizes, axis=1).tolist(),
        detections.scores.tolist(),
    )
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": truth.categories[label].id,
            "bbox": bbox,
            "area": area,
            "iscrowd": 0,
            "score": score,
        }
        for number, (image_id, label, bbox, area, score) in enumerate(
            zip(*columns, strict=True), start=1
        )
    ]


def _class_matches(judge: Any, number: int) -> ClassMatches:
    """Gather what `COCOeval.evaluate` found of one class, sorted as its `accumulate` would."""
    images = len(judge.params.imgIds)
    start = number * len(judge.params.areaRng) * images  # the first area is all of them
    rows = [(i, row) for i, row in enumerate(judge.evalImgs[start : start + images]) if row]
    none = np.empty((len(IOUS), 0))
    scores = np.concatenate([np.empty(0), *(row["dtScores"] for _, row in rows)])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([none, *(row["dtMatches"] for _, row in rows)], axis=1) > 0
    ignored = np.concatenate([none, *(row["dtIgnore"] for _, row in rows)], axis=1) > 0
    objects = np.zeros(images, np.int64)
    for i, row in rows:
        objects[i] = np.count_nonzero(row["gtIgnore"] == 0)
    counts = [len(row["dtScores"]) for _, row in rows]
    return ClassMatches(
        image=np.repeat(np.array([i for i, _ in rows], np.int64), counts)[order],
        scores=scores[order],
        hits=(matched & ~ignored)[:, order],
        ignored=ignored[:, order],
        objects=objects,
    )
