"""Finds the layer that diverges: takes a candidate and its reference, gives a `Divergence`.

The candidate is what the cell runs, as near to the end of its making as its inside can be laid
open: an ONNX graph, an OpenVINO IR, or the graph that an engine is built of (which is then built
again, by the cell's own steps). The reference is the fp32 model on the reference backend. Both
share the names of tensors; `artifacts/expose.py` maps what casts and quantizers renamed.

Slice by slice, each as many tensors as fit the memory, three things are run on a few samples, the
worst of the failed test first:

1. the reference with the slice's tensors as outputs;
2. the candidate with the same: the error that arrives at each tensor;
3. the candidate cut apart at those tensors, each layer given the reference's values: what each
   layer adds by itself.

Every slice is run, not a search by halves: errors do not grow monotonically, and one pass over the
whole graph costs no more than opening it three times. What stands out is then tried: the rest of
the candidate behind a layer is given what the reference has there, and what the layer makes of the
reference's inputs; the outputs' errors tell what that layer does by itself.
`accuracy/divergence.py` judges.

An open tensor may keep a runtime from fusing layers, and so change what is looked at. So the
model's own outputs stay among those of every slice, and what they then differ by is compared with
what it is with nothing open. A slice that changes it is halved, down to the tensor that does, and
that one is left out; so is one that a worker dies on, which is then replaced. Where too much would
have to be halved, what was seen stands, and the report says that it may not be the truth. Integers,
sequences and the inside of loops and branches are not compared; a loop is one layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.divergence import Curve, Effect, Finding
    from pytest_inferbench.artifacts.fusion import Fused
    from pytest_inferbench.candidates import Candidate, OnnxCandidate
    from pytest_inferbench.tasks import Array, Sample

SAMPLES = 2
SLICE_MIB = 256
_COPIES = 3  # of each tensor: the reference's, the candidate's, what is on its way
_UNKNOWN_ELEMENTS = 1 << 20
_MOST_TRIALS = 6
_MOST_FAILURES = 12
_CHANGED = 2.0  # times as much, or as little, error of the outputs as the test saw

Say = Callable[[str], None]


@dataclass(frozen=True)
class Divergence:
    """Where a candidate diverges from the reference.

    Attributes:
        finding: The layer, and how sure that is.
        curve: Every tensor that was compared.
        nodes: How many nodes the reference has.
        seen_error: The outputs' error on these samples when nothing is laid open; NaN if not known.
        slices: How many slices there were.
        failures: Tensors that could not be looked at, with the reason.
        notes: What else should be known.
        fused: What the backend runs the layer as one with when nothing is laid open; None where
            it does not tell, or runs it by itself.
    """

    finding: Finding
    curve: Curve
    nodes: int
    seen_error: float
    slices: int
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    fused: Fused | None = None


@dataclass
class _Readings:
    """What is filled in while slices are run."""

    errors: dict[int, tuple[float, str]] = field(default_factory=dict)
    owns: dict[int, float] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    final_errors: list[float] = field(default_factory=list)
    tries: int = 0


class Bisection:
    """One comparison of a candidate with its reference."""

    def __init__(
        self,
        reference: OnnxCandidate,
        candidate: Candidate,
        samples: Sequence[Sample],
        *,
        seen_error: float = math.nan,
        slice_mib: float = SLICE_MIB,
    ) -> None:
        """Take two graphs and what to run them on.

        Args:
            reference: The fp32 model on the reference backend.
            candidate: The graph under suspicion.
            samples: Inputs that both take.
            seen_error: The error of the candidate's outputs on them, where it is known.
            slice_mib: How much memory the tensors of a slice may take.

        Raises:
            InferbenchError: They have no tensor in common (IB-564).
        """
        self._reference, self._candidate, self._samples = reference, candidate, samples
        self._seen_error, self._slice_bytes = seen_error, slice_mib * 2**20
        self.points = candidate.points
        if not self.points:
            raise InferbenchError(
                "IB-564",
                "no tensor of the candidate has the name of one of the reference, or comes from one"
                " by a cast or a quantizer, so nothing inside them can be compared",
                "Convert the model with the names of its tensors kept.",
            )
        own = [i for i, point in enumerate(self.points) if point.tensor in candidate.outputs]
        read = {parent for point in self.points for parent in point.parents}
        self._outputs = own or [i for i in range(len(self.points)) if i not in read]
        self._read = _Readings()

    def run(self, tolerance_for: Callable[[float], float], progress: Say) -> Divergence:
        """Run all slices and the trials.

        Args:
            tolerance_for: Gives the tolerance for an error of the outputs.
            progress: Is told what is being done.
        """
        if math.isnan(self._seen_error):
            self._seen_error = self._error_with_nothing_open()
        slices = list(self._slices())
        for number, indices in enumerate(slices, 1):
            progress(f"slice {number} of {len(slices)}")
            self._look_at(indices)
        final = self._final_error()
        curve = self._curve(
            tolerance_for(final if math.isnan(self._seen_error) else self._seen_error)
        )
        return self._concluded(curve, len(slices), progress)

    def _error_with_nothing_open(self) -> float:
        values = self._reference_values([])
        try:
            found = self._candidate.values([], self._samples)
        except InferbenchError:  # it is tried again, and told, with the first slice
            return math.nan
        outputs = [i for i in self._outputs if self.points[i].tensor in found[0]]
        expected = {i: values[self.points[i].reference] for i in outputs}
        return self._worst(outputs, expected, found) if outputs else math.nan

    def _concluded(self, curve: Curve, slices: int, progress: Say) -> Divergence:
        from pytest_inferbench.accuracy.divergence import conclude, next_trial

        effects: dict[int, Effect] = {}
        while len(effects) < _MOST_TRIALS and (index := next_trial(curve, effects)) is not None:
            progress(f"trying {self.points[index].node}")
            effects[index] = self._effect_of(index)
        return Divergence(
            conclude(curve, effects),
            curve,
            self._reference.node_count,
            self._seen_error,
            slices,
            tuple(self._read.failures),
            tuple(self._notes()),
        )

    def _slices(self) -> Iterator[list[int]]:
        """Divide the points into runs of which the tensors fit into memory."""
        shapes = {name: array.shape for name, array in self._samples[0].items()}
        sizes = self._reference.sizes(shapes)
        indices: list[int] = []
        total = 0.0
        for i, point in enumerate(self.points):
            elements = sizes.get(point.reference, _UNKNOWN_ELEMENTS)
            size = 4.0 * elements * len(self._samples) * _COPIES
            if indices and total + size > self._slice_bytes:
                yield indices
                indices, total = [], 0.0
            indices.append(i)
            total += size
        yield indices

    def _look_at(self, indices: Sequence[int]) -> None:
        values = self._reference_values(indices)
        self._halving(indices, lambda part: self._errors(part, values))
        measured = [i for i in indices if i in self._read.errors]
        self._halving(measured, lambda part: self._own_errors(part, values))

    def _reference_values(self, indices: Sequence[int]) -> Mapping[str, Sequence[Array]]:
        """Return what the reference has at these points, their parents and its outputs."""
        among = {*indices, *(j for i in indices for j in self.points[i].parents), *self._outputs}
        wanted = {self.points[i].reference for i in among}
        fed = wanted.intersection(self._samples[0])
        try:
            found = self._reference.values(sorted(wanted - fed), self._samples)
        except InferbenchError as error:
            raise InferbenchError(
                "IB-560", f"the reference cannot be looked into: {error.message}", error.hint
            ) from error
        return {
            name: [
                (sample if name in fed else each)[name]
                for sample, each in zip(self._samples, found, strict=True)
            ]
            for name in wanted
        }

    def _halving(self, indices: Sequence[int], look: Callable[[Sequence[int]], None]) -> None:
        """Look at points; where that fails, at each half of them, down to the one to blame."""
        if not indices:
            return
        try:
            look(indices)
        except InferbenchError as error:
            self._read.tries += 1
            if len(indices) == 1 or self._read.tries > _MOST_FAILURES:
                why = f"[{error.code}] {error.message}"
                self._read.failures += [(self.points[i].tensor, why) for i in indices]
                return
            middle = len(indices) // 2
            self._halving(indices[:middle], look)
            self._halving(indices[middle:], look)

    def _errors(self, indices: Sequence[int], values: Mapping[str, Sequence[Array]]) -> None:
        from pytest_inferbench.accuracy.divergence import relative_error

        found = self._candidate.values([self.points[i].tensor for i in indices], self._samples)
        outputs = [i for i in self._outputs if self.points[i].tensor in found[0]]
        expected = {i: values[self.points[i].reference] for i in outputs}
        final = self._worst(outputs, expected, found) if outputs else math.nan
        if _differs(final, self._seen_error) and self._read.tries < _MOST_FAILURES:
            raise InferbenchError(
                "IB-567",
                f"laying it open changes the outputs' error from {self._seen_error:.3g} to"
                f" {final:.3g}",
            )
        for i in indices:
            got = _of(found, self.points[i].tensor)
            if got[0].dtype.kind == "f":
                self._read.errors[i] = relative_error(values[self.points[i].reference], got)
        self._read.final_errors.append(final)

    def _own_errors(self, indices: Sequence[int], values: Mapping[str, Sequence[Array]]) -> None:
        from pytest_inferbench.accuracy.divergence import relative_error

        parents = dict.fromkeys(j for i in indices for j in self.points[i].parents)
        given = {
            j: values[self.points[j].reference]
            for j in parents
            if self._candidate.can_be_given(self.points[j].tensor, values[self.points[j].reference])
        }
        able = [i for i in indices if all(j in given for j in self.points[i].parents)]
        if not able:
            return
        feeds = {self.points[j].tensor: arrays for j, arrays in given.items()}
        names = [self.points[i].tensor for i in able]
        found = self._candidate.values_given(names, feeds, self._samples)
        for i in able:
            point = self.points[i]
            own, _ = relative_error(values[point.reference], _of(found, point.tensor))
            self._read.owns[i] = own

    def _effect_of(self, index: int) -> Effect:
        """Return what a layer does to the outputs, all before it being right."""
        from pytest_inferbench.accuracy.divergence import Effect

        point, others = self.points[index], [i for i in self._outputs if i != index]
        if not others:
            return Effect(0.0, self._read.owns.get(index, math.nan))
        values = self._reference_values([index])
        right = values[point.reference]
        needed = [point, *(self.points[j] for j in point.parents)]
        if not all(self._candidate.can_be_given(p.tensor, values[p.reference]) for p in needed):
            return Effect(math.nan, math.nan)
        given = {self.points[j].tensor: values[self.points[j].reference] for j in point.parents}
        names = [self.points[i].tensor for i in others]
        count = len(self._samples)
        try:
            made = self._candidate.values_given([point.tensor], given, self._samples)
            wrong = _of(made, point.tensor)
            found = self._candidate.values_given(
                names, {point.tensor: [*right, *wrong]}, [*self._samples, *self._samples]
            )
        except InferbenchError:
            return Effect(math.nan, math.nan)
        expected = {i: values[self.points[i].reference] for i in others}
        return Effect(
            self._worst(others, expected, found[:count]),
            self._worst(others, expected, found[count:]),
        )

    def _worst(
        self,
        indices: Sequence[int],
        expected: Mapping[int, Sequence[Array]],
        found: Sequence[Mapping[str, Array]],
    ) -> float:
        from pytest_inferbench.accuracy.divergence import relative_error

        return max(
            relative_error(expected[i], _of(found, self.points[i].tensor))[0] for i in indices
        )

    def _curve(self, tolerance: float) -> Curve:
        from pytest_inferbench.accuracy.divergence import Curve, Reading

        failed = {name for name, _ in self._read.failures}
        readings = []
        for i, point in enumerate(self.points):
            error, state = self._read.errors.get(i, (None, ""))
            if error is None and point.tensor in failed:
                state = "failed"
            readings.append(Reading(error, self._read.owns.get(i), state))  # type: ignore[arg-type]
        return Curve(tuple(self.points), tuple(readings), tuple(self._outputs), tolerance)

    def _final_error(self) -> float:
        known = [error for error in self._read.final_errors if not math.isnan(error)]
        return max(known, default=math.nan)

    def _notes(self) -> Iterator[str]:
        seen, finals = self._seen_error, self._read.final_errors
        changed = [error for error in finals if _differs(error, seen)]
        if changed:
            yield (
                f"laying tensors open changed the outputs' error from {seen:.3g} to"
                f" {min(changed):.3g}: the backend fuses layers otherwise, and the fault may lie in"
                " what it fuses"
            )
        if not self._read.owns:
            yield "layers could not be run by themselves, so what each adds is not known"


def _differs(error: float, seen: float) -> bool:
    if math.isnan(error) or math.isnan(seen):
        return False
    if math.isinf(error) or math.isinf(seen):
        return error != seen
    return max(error, seen) > 1e-6 and not seen / _CHANGED <= error <= seen * _CHANGED


def _of(values: Sequence[Mapping[str, Array]], name: str) -> list[Array]:
    try:
        return [each[name] for each in values]
    except KeyError:
        raise InferbenchError(
            "IB-563",
            f"the backend did not give the output {name!r} that was added to the graph",
            "It seems to run another graph than the one that it is given.",
        ) from None


def worst_samples(
    reference: Sequence[Mapping[str, Array]], candidate: Sequence[Mapping[str, Array]], count: int
) -> list[int]:
    """Return the numbers of the samples whose outputs differ most, the worst first."""
    from pytest_inferbench.accuracy.divergence import relative_error

    def error(index: int) -> float:
        r, c = reference[index], candidate[index]
        return max(
            (relative_error([r[name]], [c[name]])[0] for name in r if _comparable(r, c, name)),
            default=0.0,
        )

    errors = [error(i) for i in range(min(len(reference), len(candidate)))]
    return sorted(range(len(errors)), key=lambda i: -errors[i])[:count]


def outputs_error(
    reference: Sequence[Mapping[str, Array]], candidate: Sequence[Mapping[str, Array]]
) -> float:
    """Return the largest error of any output; NaN if none can be compared."""
    from pytest_inferbench.accuracy.divergence import relative_error

    return max(
        (
            relative_error([each[name] for each in reference], [each[name] for each in candidate])[
                0
            ]
            for name in reference[0]
            if _comparable(reference[0], candidate[0], name)
        ),
        default=math.nan,
    )


def _comparable(r: Mapping[str, Any], c: Mapping[str, Any], name: str) -> bool:
    return name in c and r[name].dtype.kind == "f" and c[name].dtype.kind == "f"
