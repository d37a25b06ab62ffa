"""Who turns matches into COCO's average precision: pycocotools, or what stands in for it.

Takes the objects and detections of every class; gives COCO's table of precision and the matches
behind it. pycocotools is the judge of record: overlaps and precision are its own, and only its loop
over images is replaced, by `matching`. Where it is not installed, faster-coco-eval stands in.
Either is used only if it gives the digits that `coco_probe` recorded, asked once a process. Knows
neither files nor budgets.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pytest_inferbench.accuracy.coco_probe import PRECISION_SHA256, Classes, digest, probe
from pytest_inferbench.accuracy.matching import Bools, Float64, Matches, match
from pytest_inferbench.errors import InferbenchError

_SIDES = (0.0, 32.0**2, 96.0**2, 1e5**2)
RANGES = np.array([[_SIDES[0], _SIDES[3]], *itertools.pairwise(_SIDES)])
"""All sizes, small, medium, large: areas in square pixels."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # not rounded: as pycocotools has them


class Judge(Protocol):
    """A package that scores as COCO does."""

    name: str

    def overlaps(self, found: Float64, objects: Float64, crowd: Bools, /) -> Float64:
        """Return the IoU of boxes (x, y, width, height), by detection and object."""

    def precision(self, classes: Classes, matches: Sequence[Matches], /) -> Float64:
        """Return the precision by threshold, recall, class and range; -1 without objects."""


def score(classes: Classes) -> tuple[Float64, tuple[Matches, ...]]:
    """Return the precision by threshold, recall, class and range of sizes, and the matches.

    Raises:
        InferbenchError: IB-534 if no judge can be imported, IB-535 if one has digits of its own.
    """
    return score_by(the_judge(), classes)


def score_by(judge: Judge, classes: Classes) -> tuple[Float64, tuple[Matches, ...]]:
    """Do the same by a judge of one's choice."""
    matches = tuple(
        match(objects, found, judge.overlaps, THRESHOLDS, RANGES) for objects, found in classes
    )
    return judge.precision(classes, matches), matches


@functools.cache
def the_judge() -> Judge:
    """Return pycocotools, or what stands in for it, once it was seen to give the same digits."""
    judge = _installed()
    table, _ = score_by(judge, probe())
    if digest(table) != PRECISION_SHA256:
        raise InferbenchError(
            "IB-535",
            f"the {judge.name} that is installed gives other digits than pycocotools 2.0.11 "
            "on a fixed set of boxes",
            "install pycocotools 2.0.11, and tell us which version this was",
        )
    return judge


def _installed() -> Judge:
    try:
        return Pycocotools()
    except (ImportError, ValueError) as error:  # ValueError: built for another numpy
        missing = error
    try:
        return FasterCocoEval()
    except (ImportError, ValueError):
        raise InferbenchError(
            "IB-534",
            f"detections are scored by pycocotools, which cannot be imported: {missing}",
            "install the extra: pip install 'pytest-inferbench[coco]'",
        ) from missing


class Pycocotools:
    """Overlaps and precision by pycocotools' own code."""

    name = "pycocotools"

    def __init__(self) -> None:
        from pycocotools import mask
        from pycocotools.cocoeval import COCOeval

        self._iou = mask.iou
        self._judge = COCOeval

    def overlaps(self, found: Float64, objects: Float64, crowd: Bools, /) -> Float64:
        """Return the IoU of boxes, by detection and object."""
        iou: Float64 = self._iou(found, objects, crowd.tolist())
        return iou

    def precision(self, _classes: Classes, matches: Sequence[Matches], /) -> Float64:
        """Let `COCOeval.accumulate` do it, which takes matches image by image.

        To it, all images of a class are one: it would only string them together. And of its three
        limits of detections an image, the last alone is asked, which `match` has applied.
        """
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by printing
            judge = self._judge(iouType="bbox")
            judge.params.imgIds, judge.params.catIds = [0], list(range(len(matches)))
            judge.params.maxDets = [max(1, *(len(each.image) for each in matches))]
            judge._paramsEval = judge.params
            judge.evalImgs = [
                {
                    "dtScores": each.scores,
                    "dtMatches": each.matched[area],
                    "dtIgnore": each.ignored[area],
                    "gtIgnore": each.object_ignored[area],
                }
                for each in matches
                for area in range(len(RANGES))
            ]
            judge.accumulate()
        precision: Float64 = judge.eval["precision"][..., -1]
        return precision


class FasterCocoEval:
    """Overlaps and precision by faster-coco-eval, which makes matches of its own and shows none."""

    name = "faster-coco-eval"

    def __init__(self) -> None:
        from faster_coco_eval import COCO, COCOeval_faster, mask

        self._iou = mask.iou
        self._annotations, self._judge = COCO, COCOeval_faster

    def overlaps(self, found: Float64, objects: Float64, crowd: Bools, /) -> Float64:
        """Return the IoU of boxes, by detection and object."""
        return np.asarray(self._iou(found, objects, crowd.tolist()), np.float64)

    def precision(self, classes: Classes, matches: Sequence[Matches], /) -> Float64:
        """Let it match and accumulate by itself."""
        objects, found = (rows(classes, which) for which in (0, 1))
        shared = {
            "images": [
                {"id": each} for each in sorted({row["image_id"] for row in objects + found})
            ],
            "categories": [{"id": number, "name": ""} for number in range(1, len(classes) + 1)],
        }
        judge = self._judge(
            self._annotations({**shared, "annotations": objects}),
            self._annotations({**shared, "annotations": found}),
            "bbox",
        )
        judge.evaluate()
        judge.accumulate()
        precision: Float64 = judge.eval["precision"][..., -1].copy()
        for number, each in enumerate(matches):
            for area, threshold in zip(*np.nonzero(_only_first_is_right(each)), strict=True):
                row = precision[threshold, :, number, area]
                row[row == 1] = _ONE_OF_ONE
        return precision


_ONE_OF_ONE = 1 / (1 + np.spacing(1))
"""One hit of one detection, to pycocotools, whose sums are larger by an epsilon.

From two on rounding loses it, and faster-coco-eval 1.8.0 leaves it out: its 1 is put right.
"""


def _only_first_is_right(each: Matches) -> Bools:
    """Whether the best detection is right and the next is not, by range and threshold."""
    order = np.argsort(-each.scores, kind="mergesort")
    counted = ~each.ignored[..., order]
    place = np.cumsum(counted, axis=-1)
    first, second = (
        (each.matched[..., order] & counted & (place == number)).any(axis=-1) for number in (1, 2)
    )
    only: Bools = first & ~second
    return only


def rows(classes: Classes, which: int) -> list[dict[str, Any]]:
    """Return the objects (0) or the detections (1) as COCO's JSON has them."""
    listed = [
        {
            "image_id": image + 1,
            "category_id": label,
            "bbox": box,
            "area": area,
            "iscrowd": 0 if which else int(last),
            "score": last if which else 0,
        }
        for label, both in enumerate(classes, start=1)
        for image, box, area, last in zip(*(c.tolist() for c in both[which]), strict=True)
    ]
    return [{**row, "id": number} for number, row in enumerate(listed, start=1)]
