"""What masks are worth: their overlap with the reference's and with the truth.

Takes a model's outputs and true masks; gives intersections over unions, per class or per mask.
Pure: knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.crops import IGNORED, nearest
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segmented:
    """What is where in every sample.

    Attributes:
        maps: A sample's class of each pixel, [rows, height, width]; or its masks, each of them a
            plane of booleans, [masks, height, width].
        classes: How many classes there are; None where each mask stands for itself.
        truth: The same as annotated, at the size of `maps`; None where nobody said.
        faults: Why a sample has no masks.
    """

    maps: tuple[Array, ...]
    classes: int | None
    truth: tuple[Array, ...] | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overlap:
    """How far two sets of masks cover each other.

    Attributes:
        mean: The mean IoU: over classes, each over all pixels of the data; or over masks.
        per_class: By class; empty for masks. A class that neither side has is left out.
        counted: How many classes or masks the mean is over.
        empty: How many masks are empty on both sides, and so count neither for nor against.
        worst_sample: The sample whose own mean is least.
    """

    mean: float
    per_class: dict[int, float]
    counted: int
    empty: int
    worst_sample: int


def segment(outputs: Sequence[Array], threshold: float | None) -> Segmented:
    """Read masks from outputs.

    Args:
        outputs: For each sample scores by class, [rows, classes, height, width]; or a class for
            each pixel, as integers; or the scores of masks, [..., height, width].
        threshold: Above it a pixel belongs to a mask, each plane being a mask of its own. Without,
            the best class of each pixel is taken; of a single plane, masks above 0.

    Raises:
        InferbenchError: IB-587 for outputs that are no masks, or differ in kind.
    """
    if not outputs:
        raise InferbenchError("IB-587", "there are no samples to segment")
    maps: list[Array] = []
    kinds, faults = set(), []
    for index, output in enumerate(map(np.asarray, outputs)):
        if output.ndim < 2 or not output.size:
            raise InferbenchError(
                "IB-587",
                f"sample {index} has an output of shape {list(output.shape)}, which holds no masks",
                "Name the output with the masks: models.<name>.output.",
            )
        whole = output.dtype.kind in "iu" and threshold is None
        if bad := 0 if output.dtype.kind in "iub" else np.count_nonzero(~np.isfinite(output)):
            faults.append(f"sample {index}: {bad} of {output.size} values are NaN or infinite")
        planes = output.shape[1] if output.ndim == 4 else 1
        if whole:
            maps.append(output.reshape(-1, *output.shape[-2:]).astype(np.int64))
            kinds.add(-1)
        elif threshold is None and planes > 1:
            maps.append(output.argmax(axis=1))
            kinds.add(planes)
        else:
            least = 0.0 if threshold is None else threshold
            scores = output.astype(np.float64) if output.dtype.kind == "b" else output
            maps.append(scores.reshape(-1, *output.shape[-2:]) > least)
            kinds.add(0)
    if len(kinds) != 1:
        raise InferbenchError("IB-587", "the samples have different numbers of classes")
    (kind,) = kinds
    most = max((int(each.max(initial=0)) for each in maps), default=0) + 1
    classes = {0: None, -1: max(most, IGNORED)}.get(kind, kind)  # -1: they do not say how many
    return Segmented(tuple(maps), classes, faults=tuple(faults))


def fit_truth(found: Segmented, truth: Sequence[Array]) -> tuple[Array, ...]:
    """Return true masks at the size of what was found.

    Args:
        found: What they will be compared with.
        truth: For each sample a class for each pixel (`IGNORED` counts for nothing), or its masks.

    Raises:
        InferbenchError: IB-581 for another number of samples; IB-587 for another number of masks;
            IB-582 for a class that the model does not have.
    """
    if len(truth) != len(found.maps):
        raise InferbenchError(
            "IB-581", f"there are {len(found.maps)} samples and {len(truth)} true masks"
        )
    fitted = []
    for index, (mine, theirs) in enumerate(zip(found.maps, truth, strict=True)):
        planes = theirs.reshape(-1, *theirs.shape[-2:]) if theirs.ndim > 1 else theirs
        if planes.ndim != 3 or len(planes) != len(mine) or not planes.size:
            raise InferbenchError(
                "IB-587",
                f"sample {index} has {len(mine)} masks, and its true ones have the shape"
                f" {list(theirs.shape)}",
            )
        if found.classes is not None:
            wrong = planes[(planes >= found.classes) & (planes != IGNORED) | (planes < 0)]
            if wrong.size:
                raise InferbenchError(
                    "IB-582",
                    f"the true mask of sample {index} has the class {wrong[0]}, and the model the"
                    f" classes 0 to {found.classes - 1}",
                    f"Pixels that count for nothing have the class {IGNORED}.",
                )
        fitted.append(np.stack([nearest(plane, mine.shape[-2:]) for plane in planes]))
    return tuple(fitted)


def overlap(first: Sequence[Array], second: Sequence[Array], classes: int | None) -> Overlap | None:
    """Return how far masks of the same samples cover each other; None if all are empty.

    Args:
        first: Masks or classes; of classes, pixels that are `IGNORED` here are left out.
        second: The same samples.
        classes: How many there are; None for masks.

    Raises:
        InferbenchError: IB-587 if they are not of the same samples and sizes.
    """
    shapes = [each.shape for each in first], [each.shape for each in second]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise InferbenchError("IB-587", "the masks are not of the same samples and sizes")
    counts = [
        _count_masks(a, b) if classes is None else _count_classes(a, b, classes)
        for a, b in zip(first, second, strict=True)
    ]
    own = [_mean(both, either) for both, either in counts]
    worst = min(range(len(own)), key=lambda i: 2.0 if own[i] is None else own[i] or 0.0)
    if classes is None:
        both, either = (np.concatenate(side) for side in zip(*counts, strict=True))
    else:
        both, either = (np.sum(side, axis=0) for side in zip(*counts, strict=True))
    mean = _mean(both, either)
    if mean is None:
        return None
    present = np.flatnonzero(either)
    return Overlap(
        mean=mean,
        per_class={} if classes is None else {int(k): float(both[k] / either[k]) for k in present},
        counted=len(present),
        empty=0 if classes is not None else int(np.count_nonzero(either == 0)),
        worst_sample=worst,
    )


def null_overlap(found: Segmented) -> float | None:
    """Return the overlap of each sample's masks with the next one's: what a wrong answer gets."""
    following = [*found.maps[1:], found.maps[0]]
    alike = len({each.shape for each in found.maps}) == 1
    if len(found.maps) < 2 or not alike:
        return None
    wrong = overlap(found.maps, following, found.classes)
    return None if wrong is None else wrong.mean


def _count_masks(first: Array, second: Array) -> tuple[Ints, Ints]:
    a, b = first.astype(bool), second.astype(bool)
    return (a & b).sum(axis=(1, 2)), (a | b).sum(axis=(1, 2))


def _count_classes(first: Array, second: Array, classes: int) -> tuple[Ints, Ints]:
    counted = first != IGNORED if classes <= IGNORED else np.ones(first.shape, bool)
    a, b = first[counted].astype(np.int64), second[counted].astype(np.int64)
    sizes = [np.bincount(side, minlength=classes)[:classes] for side in (a, b)]
    both = np.bincount(a[a == b], minlength=classes)[:classes]
    return both, sizes[0] + sizes[1] - both


def _mean(both: Ints, either: Ints) -> float | None:
    present = either > 0
    return float((both[present] / either[present]).mean()) if present.any() else None
