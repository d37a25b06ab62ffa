"""Sums over the elements of long vectors, in float64 and block by block.

Takes arrays of any numeric type; gives dot products, errors and cosines without overflow. Pure:
knows nothing of outputs, faults or budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

FLAT = 1e-10  # a centred vector this much shorter than the vector itself is rounding
SMALLEST_SQUARE = 1e-150  # below it a product of two sums of squares would lose its digits

_BLOCK = 1 << 15  # elements at a time: a block and its temporaries stay in the cache
_NULL_SAMPLES = 32  # 496 pairs say as much as 20,000 would, at a fortieth of the time
_UNSCALED = (1e-30, 1e60)  # magnitudes whose fourth powers float64 holds, summed or not


def scale_for(largest: float) -> float:
    """Return the power of two that brings extreme values where their squares can be summed."""
    if _UNSCALED[0] <= largest <= _UNSCALED[1]:
        return 1.0
    return math.ldexp(1.0, max(-1000, min(1000, -math.frexp(largest)[1])))


@dataclass
class Sums:
    """What is summed over the elements of one sample, in float64 and already scaled."""

    r_r: float = 0.0
    c_c: float = 0.0
    r_c: float = 0.0
    centred_r_r: float = 0.0
    centred_c_c: float = 0.0
    centred_r_c: float = 0.0
    error: float = 0.0
    error_squared: float = 0.0
    max_error: float = 0.0
    max_error_at: int = 0
    max_reference: float = 0.0
    outside: int = 0
    first_outside: int | None = None

    def add(self, start: int, r: Float64, c: Float64, error: Float64, tolerance: Float64) -> None:
        """Add a block that begins at element `start`."""
        self.r_r += float(r @ r)
        self.c_c += float(c @ c)
        self.r_c += float(r @ c)
        self.error += float(error.sum())
        self.error_squared += float(error @ error)
        if (largest := float(error.max())) > self.max_error:
            self.max_error, self.max_error_at = largest, start + int(error.argmax())
        self.max_reference = max(self.max_reference, float(r.max()), -float(r.min()))
        outside = ~(error <= tolerance)  # so that a NaN tolerance lets nothing in
        found = int(np.count_nonzero(outside))
        if found and self.first_outside is None:
            self.first_outside = start + int(outside.argmax())
        self.outside += found

    def add_centred(self, r: Float64, c: Float64) -> None:
        """Add a block of which the mean over the samples was subtracted."""
        self.centred_r_r += float(r @ r)
        self.centred_c_c += float(c @ c)
        self.centred_r_c += float(r @ c)

    @property
    def snr_db(self) -> float:
        """The reference's power over the error's; inf if there is no error."""
        if not self.error_squared:
            return math.inf
        return 10 * (math.log10(self.r_r) - math.log10(self.error_squared))


def sum_pair(
    reference: Array,
    candidate: Array,
    mean: Float64 | None,
    scale: float,
    rtol: float,
    atol: float,
) -> Sums:
    """Sum over one sample, with and (if there is a mean) without the mean over the samples."""
    sums = Sums()
    reference, candidate = reference.ravel(), candidate.ravel()
    for start in range(0, reference.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        r, c = _scaled(reference[block], scale), _scaled(candidate[block], scale)
        if reference.dtype.kind in "iub":
            error = _integer_error(reference[block], candidate[block])
        else:
            error = np.abs(r - c)
        sums.add(start, r, c, error, atol * scale + rtol * np.abs(r))
        if mean is not None:
            sums.add_centred(r - mean[block], c - mean[block])
    return sums


def _scaled(values: Array, scale: float) -> Float64:
    wide = np.asarray(values, np.float64)
    return wide if scale == 1.0 else wide * scale


def _integer_error(reference: Array, candidate: Array) -> Float64:
    """Return the exact distance: two int64 that differ by 1 may be one float64."""
    r, c = reference.astype(np.uint64), candidate.astype(np.uint64)  # the difference wraps right
    return np.where(reference > candidate, r - c, c - r).astype(np.float64)


def mean_over(references: Sequence[Array], scale: float) -> Float64:
    """Return the mean of each element over the samples, scaled."""
    total = np.zeros(references[0].size)
    for reference in references:
        total += _scaled(reference.ravel(), scale)
    return total / len(references)


def cosine(dot: float, a_a: float, b_b: float) -> float:
    """Return the cosine; 0 if there is no direction, for nothing can be like it."""
    norms = math.sqrt(a_a * b_b)
    return max(-1.0, min(1.0, dot / norms)) if norms else 0.0


def pairwise_cosines(vectors: Sequence[Array], mean: Float64 | None, scale: float) -> Float64:
    """Return the cosines of all pairs of at most 32 of the vectors, evenly chosen.

    Args:
        vectors: Two or more of one size, none of them zero.
        mean: Is subtracted from each, if given.
        scale: As `scale_for` says.
    """
    count = min(len(vectors), _NULL_SAMPLES)
    step = (len(vectors) - 1) / (count - 1)
    chosen = [vectors[round(i * step)].ravel() for i in range(count)]
    gram = np.zeros((count, count))
    for start in range(0, chosen[0].size, _BLOCK):
        block = slice(start, start + _BLOCK)
        rows = np.stack([_scaled(values[block], scale) for values in chosen])
        if mean is not None:
            rows -= mean[block]
        gram += rows @ rows.T
    norms = np.sqrt(np.diag(gram))
    first, second = np.triu_indices(count, 1)
    cosines: Float64 = gram[first, second] / (norms[first] * norms[second])
    return cosines.clip(-1.0, 1.0)
