"""From a detector's raw output to boxes on the original image.

Takes output arrays and where each image was placed; gives detections. Pure: knows neither
annotations nor files nor workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LAYOUTS = {
    "yolov8": "[1, 4 + classes, anchors]",
    "yolov5": "[1, anchors, 5 + classes]",
    "end-to-end": "[1, detections, 6]",
}
CONFIDENCE = 0.001
IOU = 0.7
MAX_DETECTIONS = 300

_BLOCK = 256  # boxes that are compared with each other at once
_SCORE_SLACK = 0.01  # quantised and half-precision sigmoids overshoot a little


class Placed(Protocol):
    """Where an image lies inside a model's input; `letterbox.Placement` is one."""

    def to_image(self, boxes: Any, /) -> Any:
        """Return xyxy boxes of the input in pixels of the original image, clipped to it."""


class Boxes(NamedTuple):
    """Boxes of one image as corners, with a score and a class number each."""

    boxes_xyxy: Float64
    scores: Float64
    labels: Int64

    def take(self, chosen: npt.NDArray[Any]) -> Boxes:
        """Return the rows that an index or a mask chooses."""
        return Boxes(self.boxes_xyxy[chosen], self.scores[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Detections:
    """What was detected in some images: one row a detection, image by image, best first.

    Attributes:
        images: Every image that was run, with detections or without.
        image_ids: The image of each row.
        boxes_xyxy: Corners in pixels of the original image.
        labels: Class numbers from 0, as the model counts them.
        without_area: How many boxes above the confidence had no area and were left out.
    """

    images: tuple[int, ...]
    image_ids: Int64
    boxes_xyxy: Float64
    scores: Float64
    labels: Int64
    without_area: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.scores)


def infer_layout(shape: Sequence[int], classes: int | None = None) -> str:
    """Return the one layout that an output's shape fits; IB-510 if none or several do."""
    rows, columns = shape[-2:] if len(shape) >= 2 else (0, 0)
    if classes is not None:
        fits = {
            "yolov8": rows == 4 + classes,
            "yolov5": columns == 5 + classes,
            "end-to-end": columns == 6,
        }
    else:
        fits = {
            "yolov8": 4 < rows < columns,
            "yolov5": 5 < columns < rows,
            "end-to-end": columns == 6,
        }
    found = [layout for layout, fit in fits.items() if fit]
    if len(found) == 1:
        return found[0]
    having = f"of shape {list(shape)}" + ("" if classes is None else f" with {classes} classes")
    known = ", ".join(f"{name} {text}" for name, text in LAYOUTS.items())
    raise InferbenchError(
        "IB-510",
        f"a detection output {having} fits "
        + (f"several layouts: {' and '.join(found)}" if found else "no known layout"),
        f"name the layout, one of: {known}",
    )


def decode(
    output: npt.NDArray[Any],
    layout: str = "auto",
    classes: int | None = None,
    confidence: float = CONFIDENCE,
    *,
    name: str = "the image",
) -> Boxes:
    """Read one image's raw output.

    Every pair of a box and a class above the confidence is a candidate, as in COCO evaluations of
    YOLO models: a box may appear with several labels.

    Args:
        output: One image's array; a leading axis of 1 may be there or not.
        layout: A key of `LAYOUTS`; ``auto`` infers it from the shape.
        classes: How many classes the data set has; checked against the shape.
        confidence: Candidates with a smaller score are left out.
        name: What to call the image in an error.

    Raises:
        InferbenchError: IB-510 for a shape that does not fit, IB-511 for values that are not
            finite, IB-512 for scores that are not probabilities or labels that are not classes.
    """
    layout = infer_layout(output.shape, classes) if layout == "auto" else layout
    table = _table(output, layout, classes, name)
    check_finite(table, name)
    if layout == "end-to-end":
        return _decode_end_to_end(table, classes, confidence, name)
    scores = table[:, 4:] if layout == "yolov8" else table[:, 5:] * table[:, 4:5]
    _check_scores(scores, name)
    likely = scores >= confidence
    some = np.flatnonzero(likely.any(axis=1))  # few of thousands, so what follows is small
    rows, labels = np.nonzero(likely[some])
    anchors = some[rows]
    centres, half = table[anchors, 0:2], table[anchors, 2:4] / 2
    corners = np.concatenate([centres - half, centres + half], axis=1)
    return Boxes(corners, scores[anchors, labels], labels.astype(np.int64))


def check_finite(table: npt.NDArray[Any], name: str) -> None:
    """Refuse an output with a value that is NaN or infinite (IB-511)."""
    bad = np.count_nonzero(~np.isfinite(table))
    if bad:
        raise InferbenchError(
            "IB-511",
            f"the detector's output for {name} has {bad} of {table.size} values NaN or infinite",
            "try a wider precision, or exclude the layer that overflows",
        )


def _table(
    output: npt.NDArray[Any], layout: str, classes: int | None, name: str
) -> npt.NDArray[np.float64]:
    """Return the output with one row a box, after checking its shape."""
    table = output[0] if output.ndim == 3 and len(output) == 1 else output
    if layout not in LAYOUTS:
        raise InferbenchError(
            "IB-510", f"no layout is called {layout!r}", f"known: {list(LAYOUTS)}"
        )
    if table.ndim == 2 and layout == "yolov8":
        table = table.T
    width = table.shape[-1] if table.ndim == 2 else 0
    fixed = {"yolov8": 4, "yolov5": 5, "end-to-end": 6}[layout]
    fits = width == fixed if layout == "end-to-end" else width > fixed
    if layout != "end-to-end" and classes is not None:
        fits = width == fixed + classes
    if not fits:
        having = "" if classes is None else f" with {classes} classes"
        raise InferbenchError(
            "IB-510",
            f"the output for {name} has shape {list(output.shape)}; "
            f"layout {layout}{having} is {LAYOUTS[layout]}",
            "do the model and the data set have the same classes, is the layout the right one?",
        )
    return np.asarray(table, np.float64)


def _check_scores(scores: Float64, name: str) -> None:
    if not scores.size:
        return
    low, high = float(scores.min()), float(scores.max())
    if low < -_SCORE_SLACK or high > 1 + _SCORE_SLACK:
        raise InferbenchError(
            "IB-512",
            f"scores of {name} go from {low:.4g} to {high:.4g}; probabilities were expected",
            "is the final sigmoid part of the model, is the layout the right one?",
        )


def _decode_end_to_end(table: Float64, classes: int | None, confidence: float, name: str) -> Boxes:
    _check_scores(table[:, 4], name)
    table = table[table[:, 4] >= confidence]  # before the labels: padding rows may have any
    labels = np.rint(table[:, 5]).astype(np.int64)
    wrong = (labels < 0) | (np.abs(table[:, 5] - labels) > 1e-3)
    if classes is not None:
        wrong |= labels >= classes
    if wrong.any():
        raise InferbenchError(
            "IB-512",
            f"the detector's output for {name} has a class {table[wrong, 5][0]:g}",
            "columns are x1, y1, x2, y2, score, class; is the layout the right one?",
        )
    return Boxes(table[:, :4], table[:, 4], labels)


def nms(
    boxes_xyxy: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    iou: float = IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Int64:
    """Return the rows that greedy non-maximum suppression keeps, best first.

    A box goes if it overlaps a better one of its own class by more than `iou`; of equal scores the
    first row is better. Boxes without area overlap nothing.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = np.asarray(boxes_xyxy, np.float64)[order]
    ordered_labels = labels[order]
    rest: Int64 = np.arange(len(order))
    kept: list[int] = []
    while len(rest) and len(kept) < max_detections:
        block, rest = rest[:_BLOCK], rest[_BLOCK:]
        over = _suppresses(boxes, ordered_labels, block, block, iou)
        gone = np.zeros(len(block), bool)
        chosen: list[int] = []
        for row in range(len(block)):
            if not gone[row]:
                chosen.append(row)
                gone |= over[row]
        kept += block[chosen].tolist()
        rest = rest[~_suppresses(boxes, ordered_labels, block[chosen], rest, iou).any(axis=0)]
    return order[kept[:max_detections]].astype(np.int64)


def _suppresses(
    boxes: Float64, labels: npt.NDArray[Any], better: Int64, worse: Int64, iou: float
) -> npt.NDArray[np.bool_]:
    """Whether each of some rows (first axis) overlaps each of others of its class too much."""
    x1, y1, x2, y2 = boxes[better].T[:, :, None]
    a1, b1, a2, b2 = boxes[worse].T
    width = np.minimum(x2, a2) - np.maximum(x1, a1)
    height = np.minimum(y2, b2) - np.maximum(y1, b1)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    others = np.maximum(a2 - a1, 0) * np.maximum(b2 - b1, 0)
    # multiplied out, so that two boxes without area are not 0 / 0
    over: npt.NDArray[np.bool_] = shared > iou * (areas + others - shared)
    over &= labels[better][:, None] == labels[worse]
    return over


def detect(
    outputs: Sequence[npt.NDArray[Any]],
    placements: Sequence[Placed],
    image_ids: Sequence[int],
    *,
    classes: int | None = None,
    layout: str = "auto",
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Detections:
    """Turn the raw outputs of images into detections in pixels of the originals.

    Args:
        outputs: One array for every image.
        placements: Where each image lay in the model's input.
        image_ids: What the annotations call each image.
        classes: How many classes the data set has.
        layout: A key of `LAYOUTS`; ``auto`` infers it.
        confidence: Boxes with a smaller score are left out.
        iou: Above which overlap NMS suppresses; ``end-to-end`` outputs are past theirs already.
        max_detections: The most that are kept of an image.

    Raises:
        InferbenchError: IB-510 to IB-512 as `decode` says, IB-513 if outputs, placements
            and images do not pair up.
    """
    check_pairs(outputs, placements, image_ids)
    chosen: list[Boxes] = []
    without_area = 0
    for output, image_id in zip(outputs, image_ids, strict=True):
        read_as = infer_layout(output.shape, classes) if layout == "auto" else layout
        candidates = decode(output, read_as, classes, confidence, name=f"image {image_id}")
        with_area = solid(candidates)
        without_area += len(candidates.scores) - len(with_area.scores)
        chosen.append(_best(with_area, read_as, iou, max_detections))
    return placed_on_images(chosen, placements, image_ids, without_area)


def check_pairs(
    outputs: Sequence[Any], placements: Sequence[Placed], image_ids: Sequence[int]
) -> None:
    """Check that there is one output and one placement for every image, each image once.

    Raises:
        InferbenchError: IB-513 if not.
    """
    if len(set(image_ids)) != len(image_ids):
        raise InferbenchError("IB-513", "an image was run twice: its detections would count double")
    if not len(outputs) == len(placements) == len(image_ids):
        raise InferbenchError(
            "IB-513",
            f"{len(outputs)} outputs and {len(placements)} placements for {len(image_ids)} images",
        )


def placed_on_images(
    chosen: Sequence[Boxes],
    placements: Sequence[Placed],
    image_ids: Sequence[int],
    without_area: int = 0,
) -> Detections:
    """Move the boxes of every image from the model's input onto the image.

    Args:
        chosen: What was found in each image, best first, in pixels of the input.
        placements: Where each image lay in the input.
        image_ids: What the annotations call each image.
        without_area: How many were left out before; those that lie outside their image join them.
    """
    found: list[Boxes] = []
    for boxes, placement in zip(chosen, placements, strict=True):
        placed = boxes._replace(boxes_xyxy=np.asarray(placement.to_image(boxes.boxes_xyxy)))
        found.append(solid(placed))
        without_area += len(placed.scores) - len(found[-1].scores)
    return Detections(
        images=tuple(image_ids),
        image_ids=np.repeat(np.array(image_ids, np.int64), [len(b.scores) for b in found]),
        boxes_xyxy=np.concatenate([np.empty((0, 4)), *(b.boxes_xyxy for b in found)]),
        scores=np.concatenate([np.empty(0), *(b.scores for b in found)]),
        labels=np.concatenate([np.empty(0, np.int64), *(b.labels for b in found)]),
        without_area=without_area,
    )


def solid(boxes: Boxes) -> Boxes:
    """Leave out what is empty or inside out: it can match no object, nor suppress one."""
    x1, y1, x2, y2 = boxes.boxes_xyxy.T
    return boxes.take((x2 > x1) & (y2 > y1))


def _best(boxes: Boxes, layout: str, iou: float, max_detections: int) -> Boxes:
    if layout == "end-to-end":
        return boxes.take(np.argsort(-boxes.scores, kind="stable")[:max_detections])
    return boxes.take(nms(*boxes, iou, max_detections))
