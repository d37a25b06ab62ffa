"""What a classifier's scores say: the best classes, how often they are right, what changed.

Takes scores by class and labels; gives shares, drops with their interval, and the samples that
changed. Pure: knows neither files nor models.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

TOP = 5
_Z95 = 1.959964


@dataclass(frozen=True)
class Classified:
    """The best classes of every sample.

    Attributes:
        top: Up to five classes a sample, best first; of equal scores the lower class is first.
        classes: How many classes there are.
        labels: The right class of every sample; None where nobody said.
        faults: Why a sample has no best class.
    """

    top: Ints
    classes: int
    labels: Ints | None = None
    faults: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.top)

    def right(self, k: int) -> npt.NDArray[np.bool_] | None:
        """Whether the right class of each sample is among its best k; None without labels."""
        if self.labels is None:
            return None
        found: npt.NDArray[np.bool_] = (self.top[:, :k] == self.labels[:, None]).any(axis=1)
        return found


@dataclass(frozen=True)
class PairedDrop:
    """A share of right answers at the reference less the candidate's: positive is worse.

    Attributes:
        low: Lower bound of the 95 % interval.
        high: Upper bound of it.
        lost: How many samples only the reference has right.
        gained: How many only the candidate has right.
        p_value: McNemar's exact test: how often luck alone splits the changed samples like this.
    """

    drop: float
    low: float
    high: float
    lost: int
    gained: int
    p_value: float


def classify(outputs: Sequence[Array], labels: Sequence[object] | None = None) -> Classified:
    """Rank the classes of every sample.

    Args:
        outputs: A sample's scores each, or several samples' rows: [classes], [rows, classes], and
            whatever else holds that many numbers, such as [rows, classes, 1, 1].
        labels: The right class of every row.

    Raises:
        InferbenchError: IB-583 for outputs that are no scores by class; IB-581 for another number
            of labels; IB-582 for a label that is no class.
    """
    rows = _rows(outputs)
    classes = rows.shape[1]
    faults = []
    for index, row in enumerate(rows):
        if bad := np.count_nonzero(~np.isfinite(row)):
            faults.append(f"sample {index}: {bad} of {classes} scores are NaN or infinite")
        elif row.min() == row.max():
            what = f"all {classes} scores are {row[0]:g}: there is no best class"
            faults.append(f"sample {index}: {what}")
    top = np.argsort(-np.where(np.isfinite(rows), rows, -np.inf), axis=1, kind="stable")[:, :TOP]
    checked = None if labels is None else _labels(labels, len(rows), classes)
    return Classified(top.astype(np.int64), classes, checked, tuple(faults))


def agreement(reference: Classified, candidate: Classified) -> float:
    """Return the share of samples whose best class is the reference's.

    Raises:
        InferbenchError: IB-583 if they are not of the same samples and classes.
    """
    if (reference.samples, reference.classes) != (candidate.samples, candidate.classes):
        raise InferbenchError(
            "IB-583",
            f"the reference has {reference.samples} samples of {reference.classes} classes, the"
            f" candidate {candidate.samples} of {candidate.classes}",
        )
    return float((reference.top[:, 0] == candidate.top[:, 0]).mean())


def changed(reference: Classified, candidate: Classified) -> Ints:
    """Return the samples whose best class changed, those first that were right."""
    differ = reference.top[:, 0] != candidate.top[:, 0]
    was_right = reference.right(1)
    order = np.zeros(len(differ)) if was_right is None else ~was_right
    found: Ints = np.flatnonzero(differ)
    return found[np.argsort(order[found], kind="stable")]


def lost_by_class(reference: Classified, candidate: Classified) -> Counter[int]:
    """Return how many samples of each class are no longer right, less those newly right."""
    before, after, labels = reference.right(1), candidate.right(1), reference.labels
    lost: Counter[int] = Counter()
    if before is not None and after is not None and labels is not None:
        for label, was, now in zip(labels, before, after, strict=True):
            lost[int(label)] += int(was) - int(now)
    return lost


def paired_drop(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> PairedDrop:
    """Return the drop of a share of right answers on the same samples.

    The interval is Agresti and Min's (half a sample added to each of the four outcomes): it has a
    width even where nothing changed, which a bootstrap of the samples has not.
    """
    count = len(before)
    if count == 0 or len(after) != count:
        raise InferbenchError("IB-583", f"{count} samples and {len(after)} cannot be paired")
    lost = int(np.count_nonzero(before & ~after))
    gained = int(np.count_nonzero(after & ~before))
    many, more, less = count + 2, lost + 0.5, gained + 0.5
    middle = (more - less) / many
    width = _Z95 * math.sqrt(more + less - (more - less) ** 2 / many) / many
    low, high = max(-1.0, middle - width), min(1.0, middle + width)
    return PairedDrop((lost - gained) / count, low, high, lost, gained, mcnemar(lost, gained))


def mcnemar(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value of a split, were either side as likely."""
    total, fewer = lost + gained, min(lost, gained)
    tail = sum(math.comb(total, i) for i in range(fewer + 1))
    return float(min(1, 2 * tail / 2**total)) if total else 1.0


def _rows(outputs: Sequence[Array]) -> npt.NDArray[np.float64]:
    if not outputs:
        raise InferbenchError("IB-583", "there are no samples to classify")
    rows = []
    for index, output in enumerate(outputs):
        array = np.asarray(output)
        scores = array.reshape(1, -1) if array.ndim < 2 else array
        if scores.ndim > 2 and scores.size == scores.shape[0] * scores.shape[1]:
            scores = scores.reshape(scores.shape[:2])
        if scores.ndim != 2 or scores.shape[1] < 2 or not scores.size:
            raise InferbenchError(
                "IB-583",
                f"sample {index} has an output of shape {list(array.shape)}, not a score for each"
                " of two classes or more",
                "Name the output with the scores: models.<name>.output.",
            )
        rows.append(scores.astype(np.float64))
    if len({scores.shape[1] for scores in rows}) != 1:
        raise InferbenchError("IB-583", "the samples have different numbers of classes")
    return np.concatenate(rows)


def _labels(labels: Sequence[object], rows: int, classes: int) -> Ints:
    if len(labels) != rows:
        raise InferbenchError("IB-581", f"there are {rows} samples and {len(labels)} labels")
    for index, label in enumerate(labels):
        whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if not whole or not 0 <= int(label) < classes:  # type: ignore[call-overload]
            raise InferbenchError(
                "IB-582",
                f"sample {index} has the label {label!r}, and the model has the classes 0 to"
                f" {classes - 1}",
                "Labels are numbers of the model's own classes; were both made for the same ones?",
            )
    return np.array(labels, np.int64)
