"""Detectors of DETR's kind: queries with logits and normalised boxes, no suppression.

Takes both outputs and where each image was placed; gives detections. Pure: knows neither
annotations nor files nor workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.detection import (
    CONFIDENCE,
    MAX_DETECTIONS,
    Boxes,
    Detections,
    Float64,
    Placed,
    check_finite,
    check_pairs,
    placed_on_images,
    solid,
)
from pytest_inferbench.errors import InferbenchError

LAYOUTS = {
    "detr": "logits [1, queries, classes + 1], softmax, the last being no object",
    "rt-detr": "logits [1, queries, classes], one sigmoid each",
}
_SLACK = 0.05  # half-precision sigmoids overshoot 0 and 1 a little
_MANY = 100  # so many logits are never all between 0 and 1


def names_of(outputs: Mapping[str, Sequence[Any]]) -> tuple[str, str] | None:
    """Return the names of the logits and of the boxes; None if these are no outputs of a DETR.

    Args:
        outputs: The shape of each output; sizes that are free are no integers.
    """
    if len(outputs) != 2 or any(len(shape) not in (2, 3) for shape in outputs.values()):
        return None
    first, second = outputs
    boxes = [name for name, shape in outputs.items() if shape[-1] == 4]
    if len(boxes) != 1:  # three classes and no object have four columns too
        boxes = [name for name in boxes or outputs if "box" in name.lower()]
    if len(boxes) != 1:
        return None
    return (second if boxes[0] == first else first), boxes[0]


def infer_layout(columns: int, classes: int) -> str:
    """Return which layout the logits of a data set's classes have.

    Raises:
        InferbenchError: IB-547 if none.
    """
    found = {classes: "rt-detr", classes + 1: "detr"}.get(columns)
    if found is None:
        known = "; ".join(f"{name}: {text}" for name, text in LAYOUTS.items())
        raise InferbenchError(
            "IB-547",
            f"logits of {columns} columns fit no layout with {classes} classes",
            f"name the layout ({known}) if columns are COCO's category ids",
        )
    return found


def decode(
    logits: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    layout: str,
    input_size: tuple[int, int],
    columns: Sequence[int],
    confidence: float = CONFIDENCE,
    max_detections: int = MAX_DETECTIONS,
    *,
    name: str = "the image",
) -> Boxes:
    """Read one image's raw outputs, best first.

    With ``detr`` each query has one class, its likeliest; with ``rt-detr`` every pair of a query
    and a class is a candidate, as in their authors' own evaluations.

    Args:
        logits: A leading axis of 1 may be there or not.
        boxes: Centres and sizes as parts of the model's input, `[queries, 4]`.
        layout: A key of `LAYOUTS`.
        input_size: Height and width of the model's input.
        columns: The column of each class of the data set.
        confidence: Candidates with a smaller score are left out.
        max_detections: The most that are kept.
        name: What to call the image in an error.

    Raises:
        InferbenchError: IB-547 for shapes that do not fit, IB-511 for values that are not finite,
            IB-548 for logits or boxes in other units.
    """
    logits, boxes = _without_batch(logits), _without_batch(boxes)
    _check_shapes(logits, boxes, layout, columns, name)
    check_finite(logits, name)
    check_finite(boxes, name)
    _check_units(logits, boxes, layout, name)
    scores = (_softmax if layout == "detr" else _sigmoid)(logits)[:, list(columns)]
    if layout == "detr":
        labels = scores.argmax(axis=1)
        queries = np.arange(len(scores))
    else:
        queries, labels = (each.ravel() for each in np.indices(scores.shape))
    scores = scores[queries, labels]
    order = np.argsort(-scores, kind="stable")[:max_detections]
    order = order[scores[order] >= confidence]
    chosen = boxes[queries[order]]
    centres, half = chosen[:, :2], chosen[:, 2:] / 2
    height, width = input_size
    corners = np.concatenate([centres - half, centres + half], axis=1)
    return Boxes(
        corners * np.array([width, height] * 2, np.float64),
        scores[order],
        labels[order].astype(np.int64),
    )


def detect(
    logits: Sequence[npt.NDArray[Any]],
    boxes: Sequence[npt.NDArray[Any]],
    placements: Sequence[Placed],
    image_ids: Sequence[int],
    *,
    input_size: tuple[int, int],
    category_ids: Sequence[int],
    layout: str = "auto",
    confidence: float = CONFIDENCE,
    max_detections: int = MAX_DETECTIONS,
) -> Detections:
    """Turn the raw outputs of images into detections in pixels of the originals.

    Args:
        logits: One array for every image.
        boxes: Likewise.
        placements: Where each image lay in the model's input.
        image_ids: What the annotations call each image.
        input_size: Height and width of the model's input.
        category_ids: The data set's categories, ascending. Columns are classes in this order, or,
            where there are more of them, category ids: DETR has 91 for COCO's 80 classes.
        layout: A key of `LAYOUTS`; ``auto`` infers it.
        confidence: Boxes with a smaller score are left out.
        max_detections: The most that are kept of an image.

    Raises:
        InferbenchError: As `decode` says; IB-513 if outputs, placements and images do not pair up.
    """
    check_pairs(logits, placements, image_ids)
    check_pairs(boxes, placements, image_ids)
    chosen: list[Boxes] = []
    without_area = 0
    for own_logits, own_boxes, image_id in zip(logits, boxes, image_ids, strict=True):
        width = own_logits.shape[-1] if own_logits.ndim else 0
        read_as = infer_layout(width, len(category_ids)) if layout == "auto" else layout
        found = decode(
            own_logits,
            own_boxes,
            read_as,
            input_size,
            columns_of(category_ids, width - (read_as == "detr")),
            confidence,
            max_detections,
            name=f"image {image_id}",
        )
        chosen.append(solid(found))
        without_area += len(found.scores) - len(chosen[-1].scores)
    return placed_on_images(chosen, placements, image_ids, without_area)


def columns_of(category_ids: Sequence[int], width: int) -> Sequence[int]:
    """Return the column of each category: its place, or its id where there are ids enough.

    Raises:
        InferbenchError: IB-547 if the columns are neither.
    """
    if width == len(category_ids):
        return range(width)
    if category_ids and width > len(category_ids) and max(category_ids) < width:
        return category_ids
    raise InferbenchError(
        "IB-547",
        f"logits have {width} classes, and the data set {len(category_ids)} categories"
        + (f" with ids up to {max(category_ids)}" if category_ids else ""),
        "were the model and the data set made for the same classes?",
    )


def _without_batch(array: npt.NDArray[Any]) -> Float64:
    inner = array[0] if array.ndim == 3 and len(array) == 1 else array
    return np.asarray(inner, np.float64)


def _check_shapes(
    logits: Float64, boxes: Float64, layout: str, columns: Sequence[int], name: str
) -> None:
    if layout not in LAYOUTS:
        raise InferbenchError(
            "IB-510", f"no layout is called {layout!r}", f"known: {list(LAYOUTS)}"
        )
    fits = logits.ndim == boxes.ndim == 2 and len(logits) == len(boxes) and boxes.shape[1] == 4
    classes = logits.shape[1] - (layout == "detr") if fits else 0
    if not 0 <= max(columns, default=-1) < classes:
        raise InferbenchError(
            "IB-547",
            f"the outputs for {name} have shapes {list(logits.shape)} and {list(boxes.shape)};"
            f" layout {layout} is {LAYOUTS[layout]}, and boxes [1, queries, 4]",
            "are these the logits and the boxes, is the layout the right one?",
        )


def _check_units(logits: Float64, boxes: Float64, layout: str, name: str) -> None:
    if boxes.size and not -_SLACK <= boxes.min() <= boxes.max() <= 1 + _SLACK:
        raise InferbenchError(
            "IB-548",
            f"boxes of {name} go from {boxes.min():.4g} to {boxes.max():.4g}; parts of the input,"
            " from 0 to 1, were expected",
            "are they in pixels? A layout of DETR's kind has centres and sizes from a sigmoid.",
        )
    many = logits.size >= _MANY
    if layout == "rt-detr" and many and logits.min() >= 0 and logits.max() <= 1:
        raise InferbenchError(
            "IB-548",
            f"logits of {name} are all between 0 and 1: they look like probabilities",
            "Leave the sigmoid out of the exported model.",
        )


def _sigmoid(logits: Float64) -> Float64:
    return 0.5 * (1 + np.tanh(logits / 2))  # which overflows for no logit


def _softmax(logits: Float64) -> Float64:
    if not logits.size:
        return logits
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    share: Float64 = powers / powers.sum(axis=1, keepdims=True)
    return share
