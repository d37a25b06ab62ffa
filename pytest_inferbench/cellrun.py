"""A cell at work: its artifact, its open worker, its outputs, its fresh launches.

Takes a cell and the gate; gives arrays and launches, each made once. Knows how to ask a worker,
not what is acceptable: budgets are the handles' business.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.launches import Launch, launch_once, valid
from pytest_inferbench.worker.affinity import VARIABLE as PIN

if TYPE_CHECKING:
    from pytest_inferbench.bisect import Located
    from pytest_inferbench.comparing import Comparison
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.progress import Progress
    from pytest_inferbench.provision import Artifact
    from pytest_inferbench.serving.runs import LoadRun
    from pytest_inferbench.sweeps import Sweep
    from pytest_inferbench.tasks.base import Sample, Task
    from pytest_inferbench.worker.client import AnyWorker

_Run = TypeVar("_Run", "Launch", "Sweep", "LoadRun")

# Runs beyond the wanted ones, taken when some were set aside.
_EXTRA_RUNS = 3

FATAL = frozenset({"IB-301", "IB-302", "IB-303", "IB-305", "IB-306"})
"""What leaves no worker behind: died, timed out, over its memory, not started, gone."""


class CellRun:
    """Everything that one process does with one cell.

    Args:
        gate: What knows the settings and the environments.
        cell: The cell.
        task: The model in another state than the settings'; by default theirs.
    """

    def __init__(self, gate: Gate, cell: Cell, task: Task | None = None) -> None:
        self.gate, self.cell, self._task = gate, cell, task
        self.info = gate.catalog[cell.backend]
        self.launches: list[Launch] = []
        self.sweeps: list[Sweep] = []
        self.loads: dict[int, list[LoadRun]] = {}
        self._worker: AnyWorker | None = None
        self._opened: dict[str, Any] = {}
        self._broken: InferbenchError | None = None
        self._beside: CellRun | None = None
        self._companions: dict[str, CellRun] = {}
        self._nth_run = ""
        self._renewed = False
        self.comparisons: dict[str, Comparison] = {}

    @property
    def task(self) -> Task:
        """The model's task, with its data."""
        return self._task or self.gate.task_of(self.cell.model)

    @property
    def inputs(self) -> Sequence[Sample]:
        """The model's data, sample by sample."""
        return self.task.inputs

    @cached_property
    def artifact(self) -> Artifact:
        """The file that the cell runs, built if this host has not built it yet."""
        from pytest_inferbench.provision import provide

        with self._once():
            return provide(self.gate, self.cell, self.task)

    @property
    def opened(self) -> dict[str, Any]:
        """What the worker said when it opened the artifact: inputs, outputs, ran, versions."""
        self._open()
        return self._opened

    @property
    def versions(self) -> Mapping[str, str]:
        """What ran, as the worker said that opened it last; nothing where none did."""
        found: Mapping[str, str] = self._opened.get("versions", {})
        return found

    @cached_property
    def outputs(self) -> Sequence[Sample]:
        """The outputs for every sample of the model's data."""
        self._open()
        progress, started = self.waiting("running its data"), time.monotonic()
        outputs: list[Sample] = []
        for sample in self.inputs:
            outputs.append(self.task.infer(self, sample))
            progress(time.monotonic() - started, f"{len(outputs)} of {len(self.inputs)} samples")
        return outputs

    def infer(self, sample: Sample) -> dict[str, Any]:
        """Run one sample and return its outputs as numbers; the worker is opened on first use.

        Raises:
            InferbenchError: The input does not fit, or the worker failed.
        """
        worker = self._open()
        with self._once(FATAL):
            outputs = worker.call("infer", {}, sample, on_wait=self.waiting("infer")).arrays
        return self.as_numbers(outputs)

    def as_numbers(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a worker of this cell answered, with numbers where it sent bits."""
        from pytest_inferbench.accuracy.carried import as_numbers

        declared = {spec["name"]: spec["dtype"] for spec in self.opened["outputs"]}
        return {name: as_numbers(array, declared[name]) for name, array in outputs.items()}

    def examine(self, check: str, samples: Sequence[Sample], **fields: Any) -> list[str]:
        """Have the worker examine its open backend; return the faults that it found."""
        from pytest_inferbench.worker.protocol import pack_samples

        worker = self._open()
        with self._once(FATAL):
            reply = worker.call(
                "examine",
                {"check": check, **fields},
                pack_samples(samples),
                on_wait=self.waiting(f"examine {check}"),
            )
        faults: list[str] = reply.fields["faults"]
        return faults

    def placement(self, *, runs: bool = True) -> dict[str, Any]:
        """Return where the backend's nodes run, in what and as what, as far as it tells.

        Args:
            runs: Whether it may load the artifact again and run it to find out.
        """
        worker, sample = self._open(), self.inputs[0] if runs else {}
        with self._once(FATAL):
            reply = worker.call(
                "placement", {"runs": runs}, sample, on_wait=self.waiting("look where nodes run")
            )
        return reply.fields

    def reference_infer(self, sample: Sample) -> dict[str, Any]:
        """Run one sample on the reference beside this cell.

        Raises:
            InferbenchError: The reference cannot run here, or failed.
        """
        from pytest_inferbench.provision import reference_cell

        if self._beside is None:
            self._beside = CellRun(self.gate, reference_cell(self.gate, self.cell.model))
        return self._beside.infer(sample)

    def companion(self, name: str, make: Callable[[], Task]) -> CellRun:
        """Return the run of another part of the model on this cell, open as long as this one.

        Args:
            name: What the part is called.
            make: Gives its task, on first use.
        """
        from pytest_inferbench.companions import CompanionRun

        if name not in self._companions:
            self._companions[name] = CompanionRun(self, make())
        return self._companions[name]

    @cached_property
    def located(self) -> Located:
        """The layer that makes the cell diverge from the reference, looked for once."""
        from pytest_inferbench.bisect import located

        return located(self)

    def measure(self, count: int) -> list[Launch]:
        """Return launches of which `count` count, or as many as this machine lets us have.

        They are taken alone: one worker runs on this host.
        """
        return self._counting(self.launches, count, lambda: launch_once(self, self.open_fields()))

    def sweep(self, count: int, batches: Sequence[int]) -> list[Sweep]:
        """Return sweeps over batch sizes of which `count` count, as `measure` does launches."""
        from pytest_inferbench.sweeps import sweep_once

        return self._counting(
            self.sweeps, count, lambda: sweep_once(self, self.open_fields(), batches)
        )

    def put_under_load(self, clients: int, count: int) -> list[LoadRun]:
        """Return runs of so many clients of which `count` count, as `measure` does launches."""
        from pytest_inferbench.serving.runs import load_once

        return self._counting(
            self.loads.setdefault(clients, []),
            count,
            lambda: load_once(self, self.open_fields(), clients),
        )

    def _counting(self, runs: list[_Run], count: int, once: Callable[[], _Run]) -> list[_Run]:
        missing = count - len(valid(runs))
        if missing <= 0:
            return runs
        self.open_fields()  # what must be built is built while others may work
        most = len(runs) + missing + _EXTRA_RUNS
        progress, started = self.waiting("measuring"), time.monotonic()
        try:
            with self.alone():
                while len(valid(runs)) < count and len(runs) < most:
                    nth = f"run {len(valid(runs)) + 1} of {count}"
                    self._nth_run = f"{nth}: "
                    # Said between runs: nothing is written while calls are timed.
                    progress(time.monotonic() - started, _beside(nth, len(runs) - len(valid(runs))))
                    runs.append(self._launched(once))
        finally:
            self._nth_run = ""
        return runs

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Close the cell's own worker and hold the host; what fails meanwhile breaks the cell."""
        self.close()
        with self._once(), self.gate.host.exclusive(on_wait=self.waiting("wait for the host")):
            yield

    def open_fields(self) -> dict[str, Any]:
        """What `open` must be told for this cell."""
        users = users_options(self.cell.backend, self.gate.settings.backends)
        fixed = self.info.options_on(self.cell.device)
        if self.info.source != "onnx":  # such a file or service may not know its own names
            fixed["signature"] = self.task.facts.signature()
        if self.info.served:
            from pytest_inferbench.serving.provide import server_options

            fixed |= server_options(self.gate, self.cell, {**fixed, **users})
        return {
            "backend_module": self.info.adapter,
            "artifact": self.artifact.path,
            "options": {**fixed, **users},
            "precision": self.cell.precision,
        }

    def new_worker(self) -> AnyWorker:
        """Start a worker that can open this cell, on the CPUs that the settings pin it to."""
        pin = self.gate.settings.latency.pin
        env = {PIN: pin} if pin else {}
        return self.gate.launch(self.cell.environment, [self.info.adapter or ""], env)

    def waiting(self, what: str) -> Progress:
        """Return what is told how long something takes, and says so when it is long."""
        return self.gate.progress(f"{self.gate.nth(self.cell)}{self.cell}: {self._nth_run}{what}")

    def close(self) -> None:
        """Close the worker, and the reference's beside it, if they are open."""
        for run in (self._beside, *self._companions.values()):
            if run is not None:
                run.close()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _open(self) -> AnyWorker:
        if self._worker is None:
            with self._once():
                try:
                    self._start()
                except InferbenchError as error:
                    self.close()
                    if not self._renew(error):
                        raise
                    self._start()
        assert self._worker is not None
        return self._worker

    def _start(self) -> None:
        fields = self.open_fields()
        self._worker = self.new_worker()
        what = "start its server and open" if self.info.served else "open"
        reply = self._worker.call("open", fields, on_wait=self.waiting(what))
        self._opened = reply.fields

    def _launched(self, once: Callable[[], _Run]) -> _Run:
        try:
            return once()
        except InferbenchError as error:
            if not self._renew(error):
                raise
            return once()

    def _renew(self, error: InferbenchError) -> bool:
        """Have another artifact, once, if the one that was kept is why the cell did not open."""
        from pytest_inferbench.provision import renewed

        if self._renewed or "artifact" not in vars(self):
            return False
        self._renewed = True
        again = renewed(self.gate, self.cell, self.task, error)
        if again is not None:
            self.artifact = again
        return again is not None

    @contextlib.contextmanager
    def _once(self, fatal: frozenset[str] | None = None) -> Iterator[None]:
        """What broke the cell is not tried again: its later tests fail at once, and say so.

        Args:
            fatal: The codes that break it; None means any.
        """
        if self._broken is not None:
            first = self._broken
            raise InferbenchError(
                first.code, f"not run, for the cell broke before: {first.message}", first.hint
            )
        try:
            yield
        except InferbenchError as error:
            if fatal is None or error.code in fatal:
                self._broken = error
                self.close()
            raise
        except BaseException:  # a time limit of another plugin's, Ctrl-C: nothing is known of it
            self.close()
            raise


def _beside(nth: str, aside: int) -> str:
    return f"{nth}, {aside} set aside" if aside else nth
