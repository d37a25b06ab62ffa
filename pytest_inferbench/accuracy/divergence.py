"""Where two graphs diverge: takes tensors in the order of the graph, gives the layer that did it.

Two readings are taken of every tensor that both graphs have. Its *error* is what arrives there when
the candidate runs by itself: the relative L2 distance to the reference, which unlike a cosine sees
a wrong scale. Its *own* error is what its layer makes of the reference's inputs. Errors grow,
shrink and cancel over the depth (a softmax forgives an offset, a normalisation a scale), so nothing
here searches by halves. The layer to name is one whose own error stands out among all, and which
matters. That is tried: all before it is put right, and the outputs are looked at once with the
layer wrong and once with it right as well. One that so changes nothing is not named before others
are tried: it may be harmless, or another fault behind it hides it. Pure: knows neither graphs'
formats nor workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
State = Literal["", "non-finite", "shape", "failed"]
Kind = Literal["agrees", "recovers", "non-finite", "layer", "spread", "together", "unknown"]

STANDS_OUT = 4.0  # times the median layer's own error
_NEAR_THE_TOP = 0.25  # of the largest own error: where several stand out, all of these do
_HARMLESS = 0.95  # of the outputs' error with the layer wrong is there with it right as well
_NOTABLE = 0.8  # of it, at most, is there where one layer of two or three is put right
_DECISIVE = 0.5  # the layer alone makes as much of the outputs' error, and is most of it
_MASK = 1e30  # larger values stand for infinity, as in the masks of attention
_MASKED = 1e4  # what is left of them in fp16
_FEW = 0.1  # of the layers: where no more have an error of their own, the others are exact
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Point:
    """A tensor that the candidate has and that means a tensor of the reference.

    Attributes:
        tensor: Its name in the candidate.
        reference: The tensor of the reference that it is compared with.
        node: The layer of the reference that makes it: of those since its parents, the first with
            weights, else the last.
        op: That layer's type.
        depth: The place of the node that gives `reference` in the reference's order, from 1.
        parents: The points that it is computed from, by their places in the order.
        covers: Every node of the reference since the parents, by name.
        dtype: Its type in the candidate, by numpy's name; empty where not known.
        quantized: Whether it is what was left of `reference` after quantization.
    """

    tensor: str
    reference: str
    node: str
    op: str
    depth: int
    parents: tuple[int, ...] = ()
    covers: tuple[str, ...] = ()
    dtype: str = "float32"
    quantized: bool = False


@dataclass(frozen=True)
class Reading:
    """What was measured at a point.

    Attributes:
        error: The relative L2 distance to the reference; None where it was not measured.
        own: The same with the reference's inputs; None where it was not measured.
        state: Why there is no finite error.
    """

    error: float | None = None
    own: float | None = None
    state: State = ""


@dataclass(frozen=True)
class Curve:
    """The readings of all points in topological order.

    Attributes:
        points: The points.
        readings: One for each.
        outputs: The places of the points that are outputs of the model.
        tolerance: The error from which on a tensor is beyond tolerance.
    """

    points: tuple[Point, ...]
    readings: tuple[Reading, ...]
    outputs: tuple[int, ...]
    tolerance: float

    @cached_property
    def beyond(self) -> frozenset[int]:
        """The points beyond tolerance."""
        return frozenset(
            i
            for i, r in enumerate(self.readings)
            if r.error is not None and r.error > self.tolerance
        )

    @cached_property
    def broken(self) -> frozenset[int]:
        """The points that are not finite where the reference is."""
        return frozenset(i for i, r in enumerate(self.readings) if r.state == "non-finite")

    @property
    def final_error(self) -> float:
        """The largest error of an output; NaN where none was measured."""
        errors = [self.readings[i].error for i in self.outputs]
        return max((e for e in errors if e is not None), default=math.nan)

    @cached_property
    def leading_out(self) -> frozenset[int]:
        """The points beyond tolerance from which such points alone lead to an output."""
        return self._connected(self.beyond)

    @cached_property
    def upstream(self) -> frozenset[int]:
        """The points that some output beyond tolerance is computed from, itself included."""
        wrong = [i for i in self.outputs if i in self.beyond] or list(self.outputs)
        return self._ancestors(wrong, lambda _: True)

    @cached_property
    def typical_own(self) -> float:
        """The median own error of the layers that have any; 0 where nearly all have none.

        Many layers only move values, and have no error whatever the rest does.
        """
        owns = [r.own for r in self.readings if r.own is not None]
        some = [own for own in owns if own]
        return median(some) if len(some) > _FEW * len(owns) else 0.0

    @property
    def has_own(self) -> bool:
        """Whether any own error was measured."""
        return any(r.own is not None for r in self.readings)

    def sources(self, of: frozenset[int]) -> list[int]:
        """Return where the points of a set that lead to an output begin: no parent is in it."""
        return sorted(i for i in self._connected(of) if not of.intersection(self.points[i].parents))

    def _connected(self, of: frozenset[int]) -> frozenset[int]:
        return self._ancestors([i for i in self.outputs if i in of], of.__contains__)

    def _ancestors(self, starts: Sequence[int], follows: Callable[[int], bool]) -> frozenset[int]:
        found, waiting = set(starts), list(starts)
        while waiting:
            for parent in self.points[waiting.pop()].parents:
                if parent not in found and follows(parent):
                    found.add(parent)
                    waiting.append(parent)
        return frozenset(found)

    def as_rows(self) -> list[list[Any]]:
        """Return depth, tensor, node, op, error and own error of each point, as plain types."""
        return [
            [p.depth, p.tensor, p.node, p.op, _rounded(r.error), _rounded(r.own)]
            for p, r in zip(self.points, self.readings, strict=True)
        ]


@dataclass(frozen=True)
class Effect:
    """What a layer does to the outputs, all before it being right.

    Attributes:
        right: The outputs' error when the layer is right too.
        wrong: The outputs' error when it gives what it makes of right inputs.
    """

    right: float
    wrong: float

    @property
    def is_harmless(self) -> bool:
        """Whether it makes no difference."""
        return _share(self.right, self.wrong) >= _HARMLESS

    @property
    def is_notable(self) -> bool:
        """Whether the outputs would be better without it, or that is not known."""
        return not _share(self.right, self.wrong) > _NOTABLE

    def is_decisive(self, final_error: float) -> bool:
        """Whether it makes at least half of the outputs' error by itself."""
        most = _share(self.wrong, final_error) >= _DECISIVE
        return most and _share(self.right, self.wrong) <= _DECISIVE


@dataclass(frozen=True)
class Finding:
    """Where two graphs diverge.

    Attributes:
        kind: ``layer``: one layer, or the first of a few, makes it; ``spread``: no layer stands
            out; ``non-finite``: a value that is finite in the reference is not; ``together``:
            every layer by itself is right; ``recovers``: tensors inside differ and the outputs do
            not; ``agrees``: nothing is beyond tolerance; ``unknown``: too little was measured.
        culprit: The point to name.
        first_beyond: The first point beyond tolerance that leads to an output, else the first one.
        others: Further points to look at, the most suspicious first.
        effects: What was tried, by point.
    """

    kind: Kind
    culprit: int | None = None
    first_beyond: int | None = None
    others: tuple[int, ...] = ()
    effects: Mapping[int, Effect] = field(default_factory=dict)


def relative_error(reference: Sequence[Array], candidate: Sequence[Array]) -> tuple[float, State]:
    """Return the relative L2 distance of the worst sample, and why it is infinite where it is.

    A sample's distance is taken relative to its own length, or to the samples' mean length where
    that is greater, so that one near zero does not decide. Where the reference is infinite, NaN or
    beyond 1e30, as masks are, the candidate may be infinite or large.
    """
    distances, lengths, sizes = [], [], []
    for r, c in zip(reference, candidate, strict=True):
        if np.shape(r) != np.shape(c):
            return math.inf, "shape"
        sums = _distance(np.asarray(r).ravel(), np.asarray(c).ravel())
        if sums is None:
            return math.inf, "non-finite"
        distances.append(sums[0])
        lengths.append(sums[1])
        sizes.append(np.size(r))
    mean = sum(lengths) / len(lengths)
    if mean == 0:  # nothing to be relative to: a thousandth an element is counted as 1
        return max(
            math.sqrt(d / max(n, 1)) for d, n in zip(distances, sizes, strict=True)
        ) * 1e3, ""
    return max(math.sqrt(d / max(own, mean)) for d, own in zip(distances, lengths, strict=True)), ""


def _distance(reference: Array, candidate: Array) -> tuple[float, float] | None:
    """Return the squared distance and the reference's squared length; None if it is not finite."""
    distance = length = 0.0
    for start in range(0, reference.size, _BLOCK):
        r = reference[start : start + _BLOCK].astype(np.float64)
        c = candidate[start : start + _BLOCK].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            masked = ~(np.abs(r) < _MASK)
            same = np.isnan(r) | ~(np.abs(c) < _MASKED)
        r, c = np.where(masked, 0.0, r), np.where(masked & same, 0.0, c)
        if not np.isfinite(c).all():
            return None
        with np.errstate(over="ignore"):
            distance += float(np.square(c - r).sum())
        length += float(np.square(r).sum())
    return distance, length


def tolerance_for(cosine: float, final_error: float, floor: float) -> float:
    """Return the error from which on a tensor is beyond tolerance.

    A vector with an error of relative length e, at right angles to it, has the cosine
    1/sqrt(1 + e^2); that is the error that the budget allows. A failed test may have failed by
    something that this does not see, so half of the outputs' error is enough.

    Args:
        cosine: The budget.
        final_error: Of the outputs, of the test that failed.
        floor: What rounding makes of it at this precision.
    """
    allowed = math.sqrt(max(0.0, 1 / cosine**2 - 1))
    return max(floor, min(allowed, final_error / 2))


def next_trial(curve: Curve, effects: Mapping[int, Effect]) -> int | None:
    """Return the point to try next, if any is open.

    Args:
        curve: What was measured.
        effects: What the trials so far have shown, by point.
    """
    if curve.final_error <= curve.tolerance:
        return None
    lead, _ = _lead(curve, effects)
    return None if lead is None or lead in effects else lead


def conclude(curve: Curve, effects: Mapping[int, Effect]) -> Finding:
    """Return where the candidate diverges.

    Args:
        curve: What was measured.
        effects: What the trials have shown, by point.
    """
    first = min(curve.leading_out or curve.beyond, default=None)
    if not curve.beyond:
        return Finding("unknown" if math.isnan(curve.final_error) else "agrees")
    if curve.final_error <= curve.tolerance:
        worst = max(curve.beyond, key=lambda i: (curve.readings[i].own or 0.0, -i))
        return Finding("recovers", worst, first)
    kind, culprit, others = _culprit(curve, effects)
    return Finding(kind, culprit, first, others, dict(effects))


def _culprit(curve: Curve, effects: Mapping[int, Effect]) -> tuple[Kind, int, tuple[int, ...]]:
    """Return how an error of the outputs comes about, where, and where else to look."""
    walked = curve.sources(curve.beyond) or sorted(curve.beyond)
    broken = curve.sources(curve.broken)
    if broken:
        return "non-finite", broken[0], tuple(broken[1:])
    lead, others = _lead(curve, effects)
    if lead is None:
        return "together" if curve.has_own else "layer", walked[0], tuple(walked[1:])
    own, effect = curve.readings[lead].own or 0.0, effects.get(lead)
    if effect is not None and effect.is_decisive(curve.final_error):
        return "layer", lead, others
    if effect is not None and own < min(curve.tolerance, curve.final_error) / 10:
        return "together", walked[0], ()
    if own >= STANDS_OUT * curve.typical_own and (effect is None or effect.is_notable):
        return "layer", lead, others
    first, *rest = sorted((lead, *others), key=lambda i: -(curve.readings[i].own or 0.0))
    return "spread", first, tuple(rest)


def _lead(curve: Curve, effects: Mapping[int, Effect]) -> tuple[int | None, tuple[int, ...]]:
    """Return the most suspicious point by its own error, and others like it, the worst first."""
    erring = {
        i: own
        for i in curve.upstream
        if (own := curve.readings[i].own) and not _is_only_seen(curve, i)
    }
    harmless = [i for i in erring if i in effects and effects[i].is_harmless]
    live = {i: own for i, own in erring.items() if i not in harmless}
    if not live:
        return None, ()
    by_own = sorted(live, key=lambda i: (-live[i], i))
    top = live[by_own[0]]
    if top < STANDS_OUT * curve.typical_own:
        return by_own[0], tuple(by_own[1:4])
    least = max(_NEAR_THE_TOP * top, STANDS_OUT * curve.typical_own)
    standing_out = [i for i in by_own if live[i] >= least]
    lead = min(standing_out)
    hidden = [i for i in harmless if i in curve.leading_out and erring[i] >= least]
    return lead, tuple(i for i in (*standing_out, *hidden) if i != lead)[:4]


def _is_only_seen(curve: Curve, index: int) -> bool:
    """Whether a value is not finite only where it is looked at: what reads it is right.

    A runtime that computes in more bits than the graph says rounds what leaves the graph.
    """
    return index in curve.broken and index not in curve.leading_out


def _share(part: float, whole: float) -> float:
    """Return a part of an error; NaN, which is no share, where either is not known."""
    if math.isinf(whole):
        return 1.0 if math.isinf(part) else 0.0
    return part / whole if whole else 1.0


def _rounded(value: float | None) -> float | None:
    return value if value is None or not math.isfinite(value) else float(f"{value:.4g}")
