"""What embeddings are worth: the vectors' cosines, their ranking of each other, their duplicates.

Takes outputs and masks; gives vectors, and figures of two sets of them. Pure: knows neither files
nor models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Pooling = Literal["none", "cls", "mean", "last"]

SAME = 1e-6
"""Cosines that differ by less are a tie: it is what float32 leaves of a sum."""

_BLOCK = 512  # queries at a time: their cosines to 10,000 others take 40 MB


@dataclass(frozen=True)
class Embedded:
    """One vector a sample, of length 1.

    Attributes:
        faults: Why a sample has no direction.
    """

    vectors: Float64
    faults: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.vectors)


@dataclass(frozen=True)
class Duplicates:
    """Pairs of samples whose cosine reaches a threshold.

    Attributes:
        reference: How many pairs are at the reference.
        candidate: How many are at the candidate.
        common: How many are at both.
    """

    reference: int
    candidate: int
    common: int

    @property
    def agreement(self) -> float | None:
        """The common ones over all that either has; None where neither has any."""
        either = self.reference + self.candidate - self.common
        return self.common / either if either else None


def pool(output: Array, mask: Array | None, pooling: Pooling) -> Float64:
    """Return one vector a row of an output.

    Args:
        output: [rows, width] for `none`; [rows, tokens, width] for the others; and for `mean` also
            [rows, channels, height, width], which is averaged over its area.
        mask: [rows, tokens], not zero where there is a token; None where all are.
        pooling: `cls` takes the first token, `last` the last that the mask has, wherever padding
            is.

    Raises:
        InferbenchError: IB-584 if output or mask have other shapes, or a row has no token.
    """
    values: Float64 = np.asarray(output, np.float64)
    if not values.ndim:
        raise _unfit(output, "a vector", "Name another output: models.<name>.output")
    if pooling == "none":
        if values.ndim == 1:
            return values[None]
        flat = values.reshape(len(values), -1) if values.size else values
        if values.ndim != 2 and flat.shape[1:] != values.shape[1:2]:
            raise _unfit(output, "one vector a row", "Set models.<name>.pooling, or another output")
        return flat
    if values.ndim == 4 and pooling == "mean":
        area: Float64 = values.mean(axis=(2, 3))
        return area
    if values.ndim != 3 or not values.shape[1]:
        raise _unfit(output, f"rows of tokens, which pooling {pooling!r} takes", 'Set "none"')
    if pooling == "cls":
        return values[:, 0]
    present = np.ones(values.shape[:2], bool) if mask is None else np.asarray(mask) != 0
    if present.shape != values.shape[:2]:
        raise InferbenchError(
            "IB-584",
            f"the attention mask has the shape {list(present.shape)}, and the output"
            f" {list(values.shape)}: not a token each",
        )
    if not present.any(axis=1).all():
        row = int(np.flatnonzero(~present.any(axis=1))[0])
        raise InferbenchError("IB-584", f"the attention mask leaves no token of row {row}")
    if pooling == "last":
        last = values.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
        found: Float64 = values[np.arange(len(values)), last]
        return found
    weights = present / present.sum(axis=1, keepdims=True)
    pooled: Float64 = (
        np.where(present[..., None], values, 0.0).transpose(0, 2, 1) @ weights[..., None]
    )
    return pooled[..., 0]


def embed(rows: Sequence[Float64]) -> Embedded:
    """Return vectors at length 1, and which have none.

    Raises:
        InferbenchError: IB-584 without samples, or where they have different widths.
    """
    if not rows or len({row.shape[1] for row in rows}) != 1:
        what = "have vectors of different widths" if rows else "are none"
        raise InferbenchError("IB-584", f"the samples {what}, so nothing can be compared")
    stacked = np.concatenate(rows)
    largest = np.abs(stacked).max(axis=1, initial=0.0)
    faults = []
    for index in np.flatnonzero(~np.isfinite(largest) | (largest == 0)):
        what = "is all zero" if largest[index] == 0 else "holds NaN or infinity"
        faults.append(f"sample {index}: its embedding {what}")
    safe = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)[:, None]
    scaled = np.where(np.isfinite(stacked), stacked, 0.0) / safe  # so that squares stay in range
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    return Embedded(scaled / np.where(lengths > 0, lengths, 1.0), tuple(faults))


def cosines(reference: Embedded, candidate: Embedded) -> Float64:
    """Return the cosine of each sample's two vectors.

    Raises:
        InferbenchError: IB-584 if they are not of the same samples and width.
    """
    if reference.vectors.shape != candidate.vectors.shape:
        raise InferbenchError(
            "IB-584",
            f"the reference has {reference.samples} vectors of {reference.vectors.shape[1]}"
            f" numbers, the candidate {candidate.samples} of {candidate.vectors.shape[1]}",
        )
    dots: Float64 = np.einsum("nd,nd->n", reference.vectors, candidate.vectors)
    return dots.clip(-1.0, 1.0)


def null_cosine(reference: Embedded) -> float | None:
    """Return the mean cosine of different samples: what a wrong answer gets; None for one.

    Not the largest: duplicates among the samples are what an embedding is there to find.
    """
    count = reference.samples
    if count < 2:
        return None
    total = reference.vectors.sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


def is_all_one(embedded: Embedded) -> bool:
    """Whether every vector is the same, so that nothing can be ranked."""
    return bool((embedded.vectors @ embedded.vectors[0] > 1 - SAME).all())


def recall_at(reference: Embedded, candidate: Embedded, k: int) -> tuple[float, int]:
    """Return how many of each sample's k nearest others stay its nearest, and the worst sample.

    Samples that tie with the k-th nearest at the reference count as nearest too.

    Raises:
        InferbenchError: IB-584 unless there are more others than k.
    """
    if not 1 <= k < reference.samples - 1:
        raise InferbenchError(
            "IB-584", f"{reference.samples} samples do not have more than {k} others to rank"
        )
    shares: list[float] = []
    for (_, wanted), (_, found) in zip(_blocks(reference), _blocks(candidate), strict=True):
        least = np.partition(wanted, -k, axis=1)[:, -k] - SAME
        nearest = np.argsort(-found, axis=1, kind="stable")[:, :k]
        hits = np.take_along_axis(wanted, nearest, axis=1) >= least[:, None]
        shares += hits.mean(axis=1).tolist()
    return float(np.mean(shares)), int(np.argmin(shares))


def duplicates(reference: Embedded, candidate: Embedded, threshold: float) -> Duplicates:
    """Count the pairs of samples whose cosine is at least a threshold."""
    counts = np.zeros(3, np.int64)
    for (start, before), (_, after) in zip(_blocks(reference), _blocks(candidate), strict=True):
        later = np.arange(before.shape[1])[None] > start + np.arange(len(before))[:, None]
        was, now = (before >= threshold) & later, (after >= threshold) & later
        counts += [was.sum(), now.sum(), (was & now).sum()]
    return Duplicates(*map(int, counts))


def _blocks(embedded: Embedded) -> Iterator[tuple[int, Float64]]:
    """Yield the cosines of some samples to all; to itself a sample's is minus infinity."""
    vectors = embedded.vectors
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        yield start, block


def _unfit(output: Array, wanted: str, hint: str) -> InferbenchError:
    shape = list(np.shape(output))
    return InferbenchError("IB-584", f"the output has the shape {shape}, not {wanted}", f"{hint}.")
