"""How close two sets of outputs are, output by output and sample by sample.

Takes arrays of a reference and of a candidate; gives figures, or faults where no figure would be
honest. Pure: knows neither workers nor budgets nor files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_inferbench.accuracy.vectors import (
    FLAT,
    SMALLEST_SQUARE,
    Array,
    Float64,
    cosine,
    mean_over,
    pairwise_cosines,
    scale_for,
    sum_pair,
)
from pytest_inferbench.errors import InferbenchError


@dataclass(frozen=True)
class Fault:
    """Why there is no honest figure; always a failure.

    Attributes:
        output: The output's name; empty when no output is to blame.
        sample: The sample's number from 0; None when it concerns all of them.
        kind: ``samples``, ``missing``, ``extra``, ``dtype``, ``shape``, ``empty``, ``non-finite``,
            ``zero``, ``constant``, ``stuck`` or ``range``.
        message: What is wrong, to print after the output's name.
    """

    output: str
    sample: int | None
    kind: str
    message: str

    def __str__(self) -> str:
        """Return the sentence with the place it is about."""
        output = f"output {self.output!r}" if self.output else ""
        sample = f"sample {self.sample}" if self.sample is not None else ""
        place = ", ".join(filter(None, (output, sample)))
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True)
class Spread:
    """Cosines over the samples; `p1` is the 1st percentile, a value that a sample really had."""

    min: float
    mean: float
    p1: float


@dataclass(frozen=True)
class Null:
    """Cosines between reference outputs of different inputs: what a wrong answer scores.

    Attributes:
        high: The 90th percentile of the pairs, a value that a pair really had: what a budget must
            lie above. Not the largest, for data may hold duplicates, whose outputs are alike.
    """

    max: float
    mean: float
    high: float


@dataclass(frozen=True)
class OutputSimilarity:
    """The figures of one output, each over all samples.

    Attributes:
        count: How many elements were compared.
        centred: Cosines after the reference's mean over the samples was subtracted from both; None
            with one sample, with samples of different shapes, or if the reference never varies.
        null: None with one sample or with samples of different shapes.
        relative_error: The largest error over the largest reference value, of the worst sample.
        snr_db: Signal to noise of the worst sample; inf when all are equal.
        outside: The share of elements further off than ``atol + rtol * |reference|``.
        first_outside: The first such element: its sample, then its index.
        first_outside_values: Its value at the reference, and at the candidate.
        largest_error_at: The element that is off most: its sample, then its index.
        worst_sample: The sample with the smallest cosine.
        worst_centred_sample: The one with the smallest centred cosine, where there is one.
    """

    output: str
    samples: int
    count: int
    cosine: Spread
    centred: Spread | None
    null: Null | None
    centred_null: Null | None
    max_error: float
    mean_error: float
    relative_error: float
    snr_db: float
    outside: float
    first_outside: tuple[int, ...] | None
    first_outside_values: tuple[float, float] | None
    largest_error_at: tuple[int, ...]
    worst_sample: int
    worst_centred_sample: int


@dataclass(frozen=True)
class Similarity:
    """What a comparison found. An output with a fault is in `faults` and not in `outputs`."""

    outputs: Mapping[str, OutputSimilarity]
    faults: tuple[Fault, ...]

    def check(self) -> None:
        """Raise IB-501 naming the faults, if there are any."""
        if self.faults:
            shown = [str(fault) for fault in self.faults[:5]]
            more = len(self.faults) - len(shown)
            raise InferbenchError(
                "IB-501",
                "the outputs cannot be compared: " + "; ".join(shown),
                f"and {more} more faults like these" if more else "",
            )

    @property
    def worst(self) -> OutputSimilarity:
        """The worst figure of any output, field by field; raises IB-501 if there are faults."""
        self.check()
        rows = list(self.outputs.values())
        least = min(rows, key=lambda row: row.cosine.min)
        outside = max(rows, key=lambda row: row.outside)
        return OutputSimilarity(
            output=least.output,
            samples=rows[0].samples,
            count=sum(row.count for row in rows),
            cosine=_worst_spread(row.cosine for row in rows) or rows[0].cosine,
            centred=_worst_spread(row.centred for row in rows),
            null=_worst_null(row.null for row in rows),
            centred_null=_worst_null(row.centred_null for row in rows),
            max_error=max(row.max_error for row in rows),
            mean_error=max(row.mean_error for row in rows),
            relative_error=max(row.relative_error for row in rows),
            snr_db=min(row.snr_db for row in rows),
            outside=max(row.outside for row in rows),
            first_outside=outside.first_outside,
            first_outside_values=outside.first_outside_values,
            largest_error_at=max(rows, key=lambda row: row.max_error).largest_error_at,
            worst_sample=least.worst_sample,
            worst_centred_sample=least.worst_centred_sample,
        )

    @property
    def cosine(self) -> float:
        """The smallest cosine of any sample and output; raises IB-501 if there are faults."""
        return self.worst.cosine.min

    @property
    def max_error(self) -> float:
        """The largest error of any element; raises IB-501 if there are faults."""
        return self.worst.max_error

    @property
    def snr_db(self) -> float:
        """The worst signal to noise of any sample; raises IB-501 if there are faults."""
        return self.worst.snr_db


def compare(
    reference: Sequence[Mapping[str, Array]],
    candidate: Sequence[Mapping[str, Array]],
    *,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> Similarity:
    """Compare the named outputs of the same samples.

    Args:
        reference: One mapping of output name to array for every sample.
        candidate: The same samples, through what is being judged.
        rtol: Relative part of the tolerance that `outside` counts against.
        atol: Absolute part of it.
    """
    if not reference or len(reference) != len(candidate):
        message = (
            f"the reference has {len(reference)} samples and the candidate {len(candidate)}"
            if len(reference) != len(candidate)
            else "there are no samples"
        )
        return Similarity({}, (Fault("", None, "samples", message),))
    names = list(dict.fromkeys(name for sample in (*reference, *candidate) for name in sample))
    if not names:
        return Similarity({}, (Fault("", None, "missing", "the samples have no outputs"),))
    outputs: dict[str, OutputSimilarity] = {}
    faults: list[Fault] = []
    for name in names:
        found = _presence_faults(name, reference, candidate)
        if not found:
            pairs = [
                (np.asarray(r[name]), np.asarray(c[name]))
                for r, c in zip(reference, candidate, strict=True)
            ]
            measured = _compare_output(name, pairs, rtol, atol)
            if isinstance(measured, OutputSimilarity):
                outputs[name] = measured
            else:
                found = measured
        faults += found
    return Similarity(outputs, tuple(faults))


def _presence_faults(
    name: str, reference: Sequence[Mapping[str, Array]], candidate: Sequence[Mapping[str, Array]]
) -> list[Fault]:
    faults = []
    for i, (r, c) in enumerate(zip(reference, candidate, strict=True)):
        if name not in c:
            faults.append(Fault(name, i, "missing", "the candidate does not give it"))
        elif name not in r:
            faults.append(Fault(name, i, "extra", "only the candidate gives it"))
    return faults


def _compare_output(
    name: str, pairs: Sequence[tuple[Array, Array]], rtol: float, atol: float
) -> OutputSimilarity | list[Fault]:
    faults = [
        Fault(name, i, kind, message)
        for i, (r, c) in enumerate(pairs)
        if (found := _pair_fault(r, c))
        for kind, message in [found]
    ]
    if faults:
        return faults
    extremes = [(_extremes(r), _extremes(c)) for r, c in pairs]
    for i, ((r, c), (r_range, c_range)) in enumerate(zip(pairs, extremes, strict=True)):
        if found := _value_fault(r, c, r_range, c_range):
            faults.append(Fault(name, i, *found))
    if not faults and _is_stuck(pairs, extremes):
        message = "the candidate gives the same for every sample, the reference does not"
        faults.append(Fault(name, None, "stuck", message))
    if faults:
        return faults
    scale = scale_for(max(abs(value) for both in extremes for side in both for value in side))
    return _figures(name, pairs, scale, rtol, atol)


def _kind(array: Array) -> str:
    return "f" if "float" in array.dtype.name else array.dtype.kind  # bfloat16 calls itself V


def _pair_fault(reference: Array, candidate: Array) -> tuple[str, str] | None:
    kinds = _kind(reference), _kind(candidate)
    wide = max(reference.dtype.itemsize, candidate.dtype.itemsize) > 8
    if kinds[0] != kinds[1] or kinds[0] not in "fiub" or wide:
        return "dtype", f"the reference is {reference.dtype}, the candidate {candidate.dtype}"
    if reference.shape != candidate.shape:
        return "shape", f"the reference has {reference.shape}, the candidate {candidate.shape}"
    return None if reference.size else ("empty", f"it has no elements: {reference.shape}")


def _extremes(array: Array) -> tuple[float, float]:
    return array.min().item(), array.max().item()  # both are NaN where any element is


def _value_fault(
    reference: Array,
    candidate: Array,
    reference_range: tuple[float, float],
    candidate_range: tuple[float, float],
) -> tuple[str, str] | None:
    for who, array, extremes in (
        ("reference", reference, reference_range),
        ("candidate", candidate, candidate_range),
    ):
        if not all(map(math.isfinite, extremes)):
            bad = ~np.isfinite(np.asarray(array, np.float64))
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            many = f"{np.count_nonzero(bad)} of {array.size} elements"
            return "non-finite", f"{many} of the {who} are NaN or infinite, the first at {first}"
        if extremes == (0.0, 0.0):
            return "zero", f"the {who} is all zero"
    if candidate_range[0] == candidate_range[1] and reference_range[0] != reference_range[1]:
        return "constant", f"every element of the candidate is {candidate_range[0]:g}"
    return None


def _is_stuck(
    pairs: Sequence[tuple[Array, Array]],
    extremes: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> bool:
    def same(side: int) -> bool:
        first = pairs[0][side]
        return all(both[side] == extremes[0][side] for both in extremes) and all(
            np.array_equal(first, pair[side]) for pair in pairs[1:]
        )

    return len(pairs) > 1 and same(1) and not same(0)


def _figures(
    name: str, pairs: Sequence[tuple[Array, Array]], scale: float, rtol: float, atol: float
) -> OutputSimilarity | list[Fault]:
    references = [r for r, _ in pairs]
    alike = len(pairs) > 1 and len({r.shape for r in references}) == 1
    mean = mean_over(references, scale) if alike else None
    sums = [sum_pair(r, c, mean, scale, rtol, atol) for r, c in pairs]
    lost = [i for i, s in enumerate(sums) if min(s.r_r, s.c_c) < SMALLEST_SQUARE]
    if lost:
        message = "its values are too small beside the output's largest for float64 to compare"
        return [Fault(name, i, "range", message) for i in lost]
    cosines = [cosine(s.r_c, s.r_r, s.c_c) for s in sums]
    varies = all(s.centred_r_r > FLAT**2 * s.r_r for s in sums)
    centred = [cosine(s.centred_r_c, s.centred_r_r, s.centred_c_c) for s in sums]
    first = next((i for i, s in enumerate(sums) if s.first_outside is not None), None)
    largest = max(range(len(sums)), key=lambda i: sums[i].max_error)
    count = sum(r.size for r in references)
    return OutputSimilarity(
        output=name,
        samples=len(pairs),
        count=count,
        cosine=_spread(cosines),
        centred=_spread(centred) if alike and varies else None,
        null=_null(pairwise_cosines(references, None, scale)) if alike else None,
        centred_null=_null(pairwise_cosines(references, mean, scale)) if alike and varies else None,
        max_error=max(s.max_error for s in sums) / scale,
        mean_error=sum(s.error for s in sums) / count / scale,
        relative_error=max(s.max_error / s.max_reference for s in sums),
        snr_db=min(s.snr_db for s in sums),
        outside=sum(s.outside for s in sums) / count,
        first_outside=_place(first, sums[first].first_outside, pairs)
        if first is not None
        else None,
        first_outside_values=_values(first, sums[first].first_outside, pairs)
        if first is not None
        else None,
        largest_error_at=_place(largest, sums[largest].max_error_at, pairs),
        worst_sample=int(np.argmin(cosines)),
        worst_centred_sample=int(np.argmin(centred)),
    )


def _place(
    sample: int, element: int | None, pairs: Sequence[tuple[Array, Array]]
) -> tuple[int, ...]:
    index = np.unravel_index(element or 0, pairs[sample][0].shape)
    return (sample, *(int(i) for i in index))


def _values(
    sample: int, element: int | None, pairs: Sequence[tuple[Array, Array]]
) -> tuple[float, float]:
    reference, candidate = (float(side.ravel()[element or 0]) for side in pairs[sample])
    return reference, candidate


def _spread(cosines: Sequence[float]) -> Spread:
    p1 = float(np.percentile(cosines, 1, method="lower"))
    return Spread(min=min(cosines), mean=math.fsum(cosines) / len(cosines), p1=p1)


def _null(cosines: Float64) -> Null:
    high = float(np.percentile(cosines, 90, method="higher"))
    return Null(max=float(cosines.max()), mean=float(cosines.mean()), high=high)


def _worst_spread(spreads: Iterable[Spread | None]) -> Spread | None:
    known = [spread for spread in spreads if spread]
    if not known:
        return None
    return Spread(*(min(getattr(s, field) for s in known) for field in ("min", "mean", "p1")))


def _worst_null(nulls: Iterable[Null | None]) -> Null | None:
    known = [null for null in nulls if null]
    if not known:
        return None
    return Null(*(max(getattr(n, field) for n in known) for field in ("max", "mean", "high")))
