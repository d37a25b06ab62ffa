"""How much average precision a candidate lost, and how sure that is.

Takes the scores of two models on the same images; gives the drop with its bootstrap interval,
by class, and the images that lost most. Pure: knows neither annotations nor models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.coco import IOUS, ClassMatches, CocoScores
from pytest_inferbench.errors import InferbenchError

Float64 = npt.NDArray[np.float64]

_RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads the precision
_CELLS = 4_000_000  # resamples times detections at once: 32 MB


@dataclass(frozen=True)
class ImageLoss:
    """One image under both models.

    The figure is the sum of the scores of detections that found an object, less the sum of those
    that did not, averaged over the ten IoU thresholds: it falls with objects lost, with scores
    lost, and with false detections gained.
    """

    image_id: int
    reference: float
    candidate: float

    @property
    def lost(self) -> float:
        """By how much the figure fell."""
        return self.reference - self.candidate


@dataclass(frozen=True)
class Drop:
    """Reference mAP less candidate mAP: positive is worse.

    Attributes:
        low: Lower bound of the interval.
        high: Upper bound of it.
        resamples: How many resamples of the images the interval rests on.
        confidence: What share of intervals like this hold the true drop.
        per_class: The drop by category; None where there is no object.
        worst_images: The images that lost most, worst first; empty if none lost.
    """

    drop: float
    low: float
    high: float
    resamples: int
    confidence: float
    images: int
    per_class: Mapping[str, float | None]
    worst_images: tuple[ImageLoss, ...]


def map_drop(
    reference: CocoScores,
    candidate: CocoScores,
    *,
    resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
    worst: int = 5,
    iou: float | None = None,
) -> Drop:
    """Return the drop of mAP with a paired bootstrap interval over the images.

    Both models are resampled together, so what an image adds to the spread of both cancels out.

    Args:
        reference: Scores of the model that is right by definition.
        candidate: Scores of the model in question, on the same images.
        resamples: How many times to draw as many images as there are.
        confidence: What share of the resamples lies inside the interval.
        seed: Of the draws.
        worst: How many images to name at most.
        iou: One of `IOUS`; None averages over all of them.

    Raises:
        InferbenchError: IB-533 if the two cannot be paired, or there is nothing to resample.
    """
    if (reference.image_ids, list(reference.per_class)) != (
        candidate.image_ids,
        list(candidate.per_class),
    ):
        raise InferbenchError("IB-533", "the two scores are not of the same images and categories")
    before, classes_before = _figures(reference, iou)
    after, classes_after = _figures(candidate, iou)
    if reference.images < 2 or before is None or after is None:
        raise InferbenchError(
            "IB-533",
            f"the drop of mAP over {reference.images} image{'s' * (reference.images != 1)} "
            "has no interval",
            "it takes objects to find and two images or more, better a hundred",
        )
    drops = _resampled_drops(reference, candidate, resamples, seed, iou)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drops, [tail, 1 - tail])
    return Drop(
        drop=before - after,
        low=float(low),
        high=float(high),
        resamples=len(drops),
        confidence=confidence,
        images=reference.images,
        per_class=_differences(classes_before, classes_after),
        worst_images=_worst_images(reference, candidate, worst),
    )


def _resampled_drops(
    reference: CocoScores, candidate: CocoScores, resamples: int, seed: int, iou: float | None
) -> Float64:
    images = reference.images
    draws = np.random.default_rng(seed).multinomial(images, [1 / images] * images, resamples)
    before, after = (
        resampled_map(_at(scores, iou), draws.astype(np.float64))
        for scores in (reference, candidate)
    )
    drops: Float64 = before - after
    drops = drops[np.isfinite(drops)]  # a draw may hold no object at all
    if not drops.size:
        raise InferbenchError("IB-533", "no resample of the images holds an object to find")
    return drops


def _differences(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> dict[str, float | None]:
    pairs = zip(before.items(), after.values(), strict=True)
    return {
        name: None if ap is None or other is None else ap - other for (name, ap), other in pairs
    }


def resampled_map(matches: tuple[ClassMatches, ...], weights: Float64) -> Float64:
    """Return the mAP of each resample; NaN where one holds no object.

    Args:
        matches: Of every class.
        weights: How often each resample (a row) holds each image (a column).
    """
    per_class = np.stack([_resampled_ap(match, weights) for match in matches])
    known = ~np.isnan(per_class)
    counts = known.sum(axis=0)
    totals: Float64 = np.where(known, per_class, 0.0).sum(axis=0)
    means: Float64 = np.full(len(weights), np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means


def _resampled_ap(match: ClassMatches, weights: Float64) -> Float64:
    step = max(1, _CELLS // max(1, len(match.scores)))
    parts = [_block_ap(match, weights[i : i + step]) for i in range(0, len(weights), step)]
    return np.concatenate([np.empty(0), *parts])


def _block_ap(match: ClassMatches, weights: Float64) -> Float64:
    """Accumulate like COCOeval, but only where recall rises: at the hits.

    Precision is read as its maximum at or above a recall, and between two hits it only falls.
    """
    objects = weights @ match.objects
    seen = np.cumsum(weights[:, match.image], axis=1)
    total = np.zeros(len(weights))
    for hit, ignored in zip(match.hits, match.ignored, strict=True):
        hits, skipped = np.flatnonzero(hit), np.flatnonzero(ignored)
        true = np.cumsum(weights[:, match.image[hits]], axis=1)
        passed = np.cumsum(weights[:, match.image[skipped]], axis=1)
        passed = np.pad(passed, ((0, 0), (1, 0)))[:, np.searchsorted(skipped, hits)]
        precision = true / (seen[:, hits] - passed + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # Each recall is read at the first hit that reaches it: none where no hit does, which is 0.
        reached = np.searchsorted(_RECALLS, true / np.maximum(objects, 1)[:, None], side="right")
        total += (best * np.diff(reached, prepend=0, axis=1)).sum(axis=1) / len(_RECALLS)
    return np.where(objects > 0, total / len(match.hits), np.nan)


def _figures(
    scores: CocoScores, iou: float | None
) -> tuple[float | None, Mapping[str, float | None]]:
    """Return the average precision, of all and by class; None where there is no object."""
    if iou is None:
        return scores.map, scores.per_class

    def ap(label: str | None) -> float | None:
        try:
            return scores.ap(iou=iou, label=label)
        except InferbenchError:  # IB-532: no such object
            return None

    return ap(None), {label: ap(label) for label in scores.per_class}


def _at(scores: CocoScores, iou: float | None) -> tuple[ClassMatches, ...]:
    if iou is None:
        return scores.matches
    row = slice(IOUS.index(iou), IOUS.index(iou) + 1)
    return tuple(
        replace(match, hits=match.hits[row], ignored=match.ignored[row]) for match in scores.matches
    )


def _worst_images(
    reference: CocoScores, candidate: CocoScores, worst: int
) -> tuple[ImageLoss, ...]:
    figures = zip(
        reference.image_ids, _image_figures(reference), _image_figures(candidate), strict=True
    )
    losses = [ImageLoss(image, float(a), float(b)) for image, a, b in figures]
    losses.sort(key=lambda loss: -loss.lost)
    return tuple(loss for loss in losses[:worst] if loss.lost > 0)


def _image_figures(scores: CocoScores) -> Float64:
    total = np.zeros(scores.images)
    for match in scores.matches:
        wrong = ~(match.hits | match.ignored)
        value = match.scores * (match.hits.mean(axis=0) - wrong.mean(axis=0))
        total += np.bincount(match.image, value, minlength=scores.images)
    return total
