"""A cell asked to keep its contract: takes its run, gives the faults that were found, as text.

Whatever cannot be asked of a cell, such as batches of a model that takes one image, is
`NotAsked` with its reason: it is no fault, and it is no pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_inferbench.cellrun import FATAL
from pytest_inferbench.conformance.probes import ROUNDING, STEP, Probe, elementwise
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.tasks.base import Sample
    from pytest_inferbench.worker.client import AnyWorker

THREADS = 4
REOPENINGS = 200
_REOPENING_S = 2.0
_PATIENCE_S = 120.0
# A server is started each time, and what it might keep is in its own processes.
_SERVED: Mapping[str, Any] = MappingProxyType({"fewest": 8})
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SAMPLES = 4
_BATCH = 3
_FLOATS = ("float16", "float32", "float64")
_KEEPS_NAN = ("fp32", "tf32", "fp16", "bf16")
_KEPT_SHARE = 0.5


class NotAsked(Exception):  # noqa: N818 - it is no error
    """Why something cannot be asked of this cell."""


class NotHere(Exception):  # noqa: N818 - it is no error
    """Why something that applies to this cell cannot be asked on this machine."""


class Contract:
    """The questions that one cell is asked; each answer is a list of faults."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def repeats(self) -> list[str]:
        """The same input twice gives the same output, to the bit, and something at all."""
        import numpy as np

        sample = self._run.inputs[0]
        first, second = self._run.infer(sample), self._run.infer(sample)
        faults = [f"{name} is empty" for name, array in first.items() if array.size == 0]
        return faults + [
            f"{name} is another the second time"
            for name, array in first.items()
            if not np.array_equal(array, second[name], equal_nan=array.dtype.kind in "fc")
        ]

    def layouts(self) -> list[str]:
        """Strided, reversed and read-only inputs give the outputs of plain ones."""
        return self._run.examine("layouts", self._samples)

    def ownership(self) -> list[str]:
        """Outputs are the caller's: neither call nor caller changes the other's."""
        return self._run.examine("ownership", self._samples)

    def threads(self) -> list[str]:
        """Several threads at once get each its own answer."""
        return self._run.examine("threads", self._samples, count=THREADS, tolerance=self._rounding)

    def batches(self) -> list[str]:
        """A batch of several gives what they give one by one."""
        from pytest_inferbench.conformance.exam import off_by, relative_error

        samples = self._batchable()
        rows = [len(next(iter(sample.values()))) for sample in samples]
        together = self._run.infer(_joined(samples))
        faults, start = [], 0
        for number, (sample, count) in enumerate(zip(samples, rows, strict=True), 1):
            for name, alone in self._run.infer(sample).items():
                got = together[name][start : start + count]
                if got.shape != alone.shape:
                    faults.append(f"{name} has shape {together[name].shape} for {sum(rows)} rows")
                elif (error := relative_error(alone, got)) > self._rounding_of(name):
                    faults.append(f"sample {number} in a batch: {name} {off_by(error)}")
            start += count
        return faults

    def empty_batch(self) -> list[str]:
        """A batch of none gives outputs of no rows."""
        (sample, *_) = self._batchable()
        self._run.infer(sample)  # a cell that cannot even do this says so in its own words
        empty = {name: array[:0] for name, array in sample.items()}
        try:
            outputs = self._run.infer(empty)
        except InferbenchError as error:
            if error.code in (*FATAL, "IB-325"):
                raise
            self._run.infer(sample)  # a refusal must leave it usable
            first_line = error.message.partition("\n")[0]
            raise NotAsked(f"it refuses a batch of none: {first_line}") from error
        return [
            f"{name} has shape {array.shape} for no rows"
            for name, array in outputs.items()
            if array.shape[:1] != (0,)
        ]

    def non_finite(self) -> list[str]:
        """NaN and infinity come through where they come through the reference.

        Not to the element: a convolution by another algorithm carries them further. What is asked
        is that most of the values that are not finite in the reference's outputs are not here.
        """
        import numpy as np

        if self._run.cell.precision not in _KEEPS_NAN:
            raise NotAsked("integers have no NaN: what they make of one is not defined")
        sample = self._run.inputs[0]
        name = next((n for n, a in sample.items() if a.dtype.name in _FLOATS and a.size), None)
        if name is None:
            raise NotAsked("no input takes floating-point numbers")
        faults, reached = [], False
        for value in (np.nan, np.inf):
            poisoned = {**sample, name: sample[name].copy()}
            poisoned[name].flat[poisoned[name].size // 2] = value
            want, have = self._run.reference_infer(poisoned), self._run.infer(poisoned)
            for output in want:
                lost, of = _made_finite(want[output], have[output])
                reached |= of > 0
                if lost > of * (1 - _KEPT_SHARE):
                    faults.append(
                        f"{value} in {name!r}: {lost} of the {of} values of {output!r} that are"
                        " not finite in the reference's output are finite here"
                    )
        if not reached:
            raise NotAsked("the reference's outputs stay finite whatever it is given")
        return faults

    def misfits(self) -> list[str]:
        """A wrong name, type, rank or size is refused by name, and leaves the backend usable."""
        import numpy as np

        sample = dict(self._run.inputs[0])
        before = self._run.infer(sample)  # a cell that cannot even do this says so in its own words
        faults = []
        for words, name, misfit in self._misfits(sample):
            try:
                self._run.infer(misfit)
            except InferbenchError as error:
                if name not in error.message or not error.code.startswith("IB-32"):
                    faults.append(f"{words} was refused, but not before the runtime: {error}")
            else:
                faults.append(f"{words} was not refused")
        after = self._run.infer(sample)
        return faults + [
            f"after refusals the output {name!r} is not what it was before"
            for name, array in before.items()
            if not np.array_equal(array, after[name], equal_nan=array.dtype.kind in "fc")
        ]

    def reopening(self) -> Reopened:
        """Open and close the cell's own model over and over, for some seconds."""
        run = self._run
        fields = {**run.open_fields(), **(_SERVED if run.info.served else {})}
        with run.new_worker() as worker:
            return _reopened(worker, fields, run.inputs[0], _REOPENING_S)

    def reopening_a_small_model(self) -> Reopened:
        """Open and close a model of two nodes, `REOPENINGS` times however long that takes."""
        import numpy as np

        with self.probing() as prober:
            probe, x = elementwise("float32", 2), np.ones((2, 3), np.float32)
            if self._run.info.served:
                return prober.reopen(probe, x, _REOPENING_S, _SERVED)
            return prober.reopen(probe, x, _PATIENCE_S)

    @contextmanager
    def probing(self) -> Iterator[Prober]:
        """Give what runs other models on the cell's backend, in a worker of its own."""
        if self._run.info.source != "onnx" or not self._run.info.runs:
            raise NotAsked(f"{self._run.cell.backend} runs no ONNX files")
        if self._run.cell.precision != "fp32":
            raise NotAsked("probes are run as they are: the cell at fp32 answers for all")
        with self._run.new_worker() as worker:
            prober = Prober(worker, self._run.open_fields(), self._run.info.narrows)
            try:
                yield prober
            finally:
                with suppress(InferbenchError):  # a worker that is gone was said already
                    prober.clear()

    @property
    def _samples(self) -> Sequence[Sample]:
        return list(self._run.inputs[:_SAMPLES])

    @property
    def _rounding(self) -> float:
        return ROUNDING[self._run.cell.precision]

    def _rounding_of(self, output: str) -> float:
        declared = {spec["name"]: spec["dtype"] for spec in self._run.opened["outputs"]}
        return max(self._rounding, STEP.get(declared[output], 0.0))

    def _batchable(self) -> Sequence[Sample]:
        opened = self._run.opened
        for kind in ("inputs", "outputs"):
            for spec in opened[kind]:
                shape = spec["shape"]
                if not shape or (isinstance(shape[0], int) and shape[0] >= 0):
                    raise NotAsked(f"{kind[:-1]} {spec['name']!r} has no dynamic first dimension")
        samples = list(self._run.inputs[:_BATCH])
        shapes = {tuple((n, a.shape[1:]) for n, a in sample.items()) for sample in samples}
        if len(shapes) > 1 or len(samples) < 2:
            raise NotAsked("there are no two samples of one shape")
        return samples

    def _misfits(self, sample: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        name, array = next(iter(sample.items()))
        yield "an unknown input", "no_such_input", {**sample, "no_such_input": array}
        yield "a missing input", name, {k: v for k, v in sample.items() if k != name}
        yield "another rank", name, {**sample, name: array[None]}
        other = "int32" if array.dtype.kind == "f" else "float32"
        yield "another type", name, {**sample, name: array.astype(other)}
        spec = next(spec for spec in self._run.opened["inputs"] if spec["name"] == name)
        fixed = [i for i, d in enumerate(spec["shape"] or ()) if isinstance(d, int) and d > 0]
        if fixed:
            wrong = array.repeat(2, axis=fixed[0])
            yield "another size", name, {**sample, name: wrong}


class Reopened(NamedTuple):
    """What opening and closing over and over left behind."""

    growth_mib: float
    times: int


def _reopened(
    worker: AnyWorker, fields: Mapping[str, Any], sample: Sample, budget_s: float
) -> Reopened:
    reply = worker.call(
        "reopen",
        {"times": REOPENINGS, "budget_s": budget_s, **fields},
        sample,
        timeout_s=budget_s + _PATIENCE_S,
    ).fields
    return Reopened(reply["growth_mib"], reply["times"])


class Prober:
    """Runs other models on a cell's backend.

    Attributes:
        narrows: Types that the backend computes in narrower ones, which is known.
    """

    def __init__(
        self, worker: AnyWorker, fields: Mapping[str, Any], narrows: Mapping[str, str]
    ) -> None:
        self.narrows = narrows
        self._worker, self._fields = worker, fields
        self._open: bytes | None = None
        self._count = 0

    def run(self, probe: Probe, x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return what a probe gives for an input.

        Raises:
            NotAsked: The backend cannot open such a model.
        """
        if probe.model != self._open:
            self._worker.call("close")
            self._open = None
            try:
                self._worker.call("open", self._fields_for(probe))
            except InferbenchError as error:
                if error.code in FATAL:
                    raise
                first_line = error.message.partition("\n")[0]
                raise NotAsked(f"it cannot open such a model: {first_line}") from error
            self._open = probe.model
        return dict(self._worker.call("infer", {}, {"x": x}).arrays)["y"]

    def reopen(
        self,
        probe: Probe,
        x: npt.NDArray[np.generic],
        budget_s: float,
        more: Mapping[str, Any] = _NOTHING,
    ) -> Reopened:
        """Open and close a probe over and over, for so many seconds.

        Raises:
            NotAsked: The backend cannot open such a model.
        """
        self.run(probe, x)
        self._worker.call("close")
        self._open = None
        return _reopened(self._worker, {**self._fields_for(probe), **more}, {"x": x}, budget_s)

    def _fields_for(self, probe: Probe) -> dict[str, Any]:
        import numpy as np

        data = np.frombuffer(probe.model, np.uint8)
        self._count += 1
        name = f"probe{self._count}.onnx"
        written = self._worker.call("scratch", {"name": name}, {"data": data}).fields
        return {**self._fields, "artifact": written["path"]}

    def clear(self) -> None:
        """Remove what was written where the worker runs, which may be another host."""
        self._worker.call("close")
        self._worker.call("scratch")


def _joined(samples: Sequence[Sample]) -> dict[str, Any]:
    import numpy as np

    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _made_finite(want: Any, have: Any) -> tuple[int, int]:
    """Return how many values are finite that should not be, and how many should not be."""
    import numpy as np

    if want.dtype.kind not in "fc":
        return 0, 0
    bad = ~np.isfinite(want)
    of = int(bad.sum())
    if have.dtype.kind not in "fc":
        return of, of
    still = ~np.isfinite(have)
    if want.shape != have.shape:  # as many as there are: which belongs to which cannot be told
        return max(0, of - int(still.sum())), of
    return int((bad & ~still).sum()), of
