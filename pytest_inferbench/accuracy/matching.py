"""Which detection finds which object, as COCO's evaluation has it, for many images at once.

Takes the objects and the detections of one class and what gives their overlaps; gives, for every
IoU threshold and range of sizes, what was found and what counts for nothing. pycocotools does the
same in a loop over images, sizes, thresholds, detections and objects; here every image takes its
next detection at the same time. Pure: knows neither categories nor precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Overlaps = Callable[[Float64, Float64, Bools], Float64]
"""Detections' boxes, objects' boxes, which objects are crowds -> IoU by detection and object."""

MOST = 100  # detections of a class in an image; further ones are not looked at


class Objects(NamedTuple):
    """Annotated objects, in the order of the annotations; `image` counts from 0."""

    image: Int64
    boxes_xywh: Float64
    areas: Float64
    crowd: Bools

    def take(self, chosen: npt.NDArray[Any]) -> Objects:
        """Return the rows that an index or a mask chooses."""
        return Objects(*(column[chosen] for column in self))


class Found(NamedTuple):
    """Detections, in the order in which they came; `image` counts from 0."""

    image: Int64
    boxes_xywh: Float64
    areas: Float64
    scores: Float64

    def take(self, chosen: npt.NDArray[Any]) -> Found:
        """Return the rows that an index or a mask chooses."""
        return Found(*(column[chosen] for column in self))


@dataclass(frozen=True)
class Matches:
    """What became of one class; detections stand image by image, best first.

    Attributes:
        image: The image of each detection.
        matched: Whether it met an object, by range of sizes, threshold and detection.
        ignored: Whether it counts neither for nor against, likewise.
        object_image: The image of each object.
        object_ignored: Whether it need not be found, by range of sizes and object.
    """

    image: Int64
    scores: Float64
    matched: Bools
    ignored: Bools
    object_image: Int64
    object_ignored: Bools


class _Edges(NamedTuple):
    """Pairs of a detection and an object that overlap enough, by detection, then by object."""

    found: Int64
    target: Int64
    iou: Float64


def match(
    objects: Objects, found: Found, overlaps: Overlaps, thresholds: Float64, ranges: Float64
) -> Matches:
    """Give each detection the object that it finds, the best detections first.

    A detection takes the object that it overlaps most among those that are free, one that counts
    before one that is ignored, the later of two alike. A crowd is never used up.

    Args:
        objects: Of one class.
        found: Of the same class.
        overlaps: Gives the IoU of boxes of one image.
        thresholds: The least IoU, ascending.
        ranges: The least and the largest area, a row a range.
    """
    objects = objects.take(np.argsort(objects.image, kind="stable"))
    found = found.take(np.lexsort((-found.scores, found.image)))
    found = found.take(_rank(found.image) < MOST)
    ignored_objects = objects.crowd | _outside(objects.areas, ranges)
    edges = _edges(objects, found, overlaps, thresholds[0])
    target = _greedy(edges, found.image, objects.crowd, ignored_objects, thresholds)
    matched = target >= 0
    # a last column, so that -1 is the index of something where there are no objects
    padded = np.pad(ignored_objects, ((0, 0), (0, 1)))
    on_ignored = np.stack([row[at] for row, at in zip(padded, target, strict=True)])
    return Matches(
        image=found.image,
        scores=found.scores,
        matched=matched,
        ignored=np.where(matched, on_ignored, _outside(found.areas, ranges)[:, None, :]),
        object_image=objects.image,
        object_ignored=ignored_objects,
    )


def _outside(areas: Float64, ranges: Float64) -> Bools:
    outside: Bools = (areas < ranges[:, :1]) | (areas > ranges[:, 1:])
    return outside


def _rank(keys: Int64) -> Int64:
    """Return how many equal keys stand before each; equal keys stand together."""
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(first, append=len(keys))
    rank: Int64 = np.arange(len(keys)) - np.repeat(first, counts)
    return rank


def _edges(objects: Objects, found: Found, overlaps: Overlaps, least: float) -> _Edges:
    parts: list[tuple[Int64, Int64, Float64]] = []
    shared = np.intersect1d(objects.image, found.image)
    rows = zip(
        *(np.searchsorted(found.image, shared, side=side) for side in ("left", "right")),
        *(np.searchsorted(objects.image, shared, side=side) for side in ("left", "right")),
        strict=True,
    )
    for d0, d1, g0, g1 in rows:
        table = overlaps(found.boxes_xywh[d0:d1], objects.boxes_xywh[g0:g1], objects.crowd[g0:g1])
        detection, target = np.nonzero(table >= least)
        parts.append((detection + d0, target + g0, table[detection, target]))
    none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return _Edges(*(np.concatenate(column) for column in zip(none, *parts, strict=True)))


def _greedy(
    edges: _Edges, image: Int64, crowd: Bools, ignored_objects: Bools, thresholds: Float64
) -> Int64:
    """Return the object of each detection by range and threshold; -1 where there is none."""
    ranges = len(ignored_objects)
    target = np.full((len(image), ranges, len(thresholds)), -1, np.int64)
    taken = np.zeros((len(crowd), ranges, len(thresholds)), bool)
    with_edges, first = np.unique(edges.found, return_index=True)
    counts = np.diff(first, append=len(edges.found))
    turn = np.repeat(_rank(image[with_edges]), counts)
    reaches = edges.iou[:, None] >= thresholds
    for step in range(int(turn.max(initial=-1)) + 1):
        here = np.flatnonzero(turn == step)
        objects = edges.target[here]
        free = reaches[here][:, None, :] & (~taken[objects] | crowd[objects, None, None])
        counting = free & ~ignored_objects.T[objects][:, :, None]
        starts = np.flatnonzero(np.diff(edges.found[here], prepend=-1))
        best = _best(counting, edges.iou[here], starts)
        best = np.where(best >= 0, best, _best(free & ~counting, edges.iou[here], starts))
        chosen = np.where(best >= 0, objects[best], -1)
        target[edges.found[here][starts]] = chosen
        _, area, threshold = hit = np.nonzero(chosen >= 0)
        taken[chosen[hit], area, threshold] = True
    return np.moveaxis(target, 0, -1)


def _best(allowed: Bools, iou: Float64, starts: Int64) -> Int64:
    """Return, of each group of edges, the last of those that overlap most, or -1."""
    value = np.where(allowed, iou[:, None, None], -1.0)
    top = np.maximum.reduceat(value, starts, axis=0)
    of_group = np.repeat(top, np.diff(starts, append=len(iou)), axis=0)
    number = np.where(allowed & (value == of_group), np.arange(len(iou))[:, None, None], -1)
    best: Int64 = np.maximum.reduceat(number, starts, axis=0)
    return best
