"""Verbs: takes one with fields and arrays, gives fields and arrays; knows no process or frame.

One artifact is open at a time. The same class serves in a worker and, for a debugger, in the
pytest process itself.
"""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Backend
from pytest_inferbench.conformance import exam
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.measure import machine, memory, sampling
from pytest_inferbench.measure.bursts import Bursts
from pytest_inferbench.measure.guard import Guard
from pytest_inferbench.measure.watcher import Watcher
from pytest_inferbench.worker import affinity
from pytest_inferbench.worker.cache_verbs import Answer, Arrays, CacheVerbs, Fields
from pytest_inferbench.worker.facts import hardware_here, installed
from pytest_inferbench.worker.protocol import unpack_samples

# How long calls are timed on the device beside the clock: apart, for asking it costs time too.
_DEVICE_S = 0.2


class Servant:
    """What a worker can do; each public method is a verb."""

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._bursts: Bursts | None = None
        self._cache_verbs = CacheVerbs(self.build)
        self._scratch: Path | None = None
        self._start_mib = memory.rss_mib()
        self._watched: Watcher | None = None
        self._guard: Guard | None = None

    def handle(self, verb: str, fields: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Do what a verb says.

        Raises:
            InferbenchError: There is no such verb, or one of its fields is missing or unknown.
        """
        method: Callable[..., Answer] | None = self._verbs().get(verb)
        if method is None:
            raise InferbenchError(
                "IB-311", f"a worker has no verb {verb!r}", f"It has: {', '.join(self._verbs())}."
            )
        try:
            bound = inspect.signature(method).bind(arrays, **fields)
        except TypeError as error:
            raise InferbenchError("IB-311", f"the verb {verb!r}: {error}") from error
        return method(*bound.args, **bound.kwargs)

    def _verbs(self) -> dict[str, Callable[..., Answer]]:
        return {
            "hello": self.hello,
            "build": self.build,
            "watch": self.watch,
            "open": self.open,
            "infer": self.infer,
            "sample": self.sample,
            "guard": self.guard,
            "warm": self.warm,
            "burst": self.burst,
            "memory": self.memory,
            "placement": self.placement,
            "examine": self.examine,
            "reopen": self.reopen,
            "run_case": self.run_case,
            "close": self.close,
            "scratch": self.scratch,
            "hardware": self.hardware,
            **self._cache_verbs.verbs(),
        }

    def hello(self, _arrays: Arrays, *, distributions: list[str] | None = None) -> Answer:
        """Tell who answers: Python, numpy, platform, pid, versions of named distributions."""
        return {
            "python": platform.python_version(),
            "executable": sys.executable,
            "numpy": np.__version__,
            "platform": platform.platform(),
            "machine": platform.machine(),
            "pid": os.getpid(),
            "cpus": len(os.sched_getaffinity(0)),
            "affinity": sorted(os.sched_getaffinity(0)),
            "distributions": installed(distributions or []),
        }, {}

    def build(
        self, arrays: Arrays, *, family: str, recipe: Fields, model: str, output: str
    ) -> Answer:
        """Make an artifact; the arrays are calibration samples stacked on their first axis."""
        module = f"pytest_inferbench.artifacts.recipes_{family}"
        try:
            recipes = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise
            raise InferbenchError(
                "IB-312",
                f"no recipes for the family {family!r} were sent to this worker",
                f"Launch it with modules=[{module!r}].",
            ) from error
        started = time.perf_counter()
        built: Fields = recipes.build(recipe, model, output, arrays)
        return {**built, "build_ms": _since_ms(started), "peak_mib": memory.peak_mib()}, {}

    def watch(self, _arrays: Arrays, *, device: str, index: int = 0) -> Answer:
        """Tell which device `sample` and `memory` watch, before anything is opened on it."""
        self._watched = Watcher(device, index)
        return {}, {}

    def open(
        self,
        _arrays: Arrays,
        *,
        backend_module: str,
        artifact: str,
        options: Fields | None = None,
        precision: str = "fp32",
    ) -> Answer:
        """Open an artifact with ``module:Class``; the time includes the runtime's import."""
        if self._backend is not None:
            raise InferbenchError("IB-313", "an artifact is already open", "Close it first.")
        started = time.perf_counter()
        backend = _opened(backend_module, artifact, options, precision)
        open_ms = _since_ms(started)
        self._backend = backend
        affinity.refuse_strays(affinity.pinned())
        return {
            "open_ms": open_ms,
            "from_cache": backend.loaded_from_cache(),
            "affinity": sorted(os.sched_getaffinity(0)),
            "inputs": [spec.as_fields() for spec in backend.inputs],
            "outputs": [spec.as_fields() for spec in backend.outputs],
            "ran": backend.describe(),
            "versions": installed([*backend.distributions, "numpy"]),
        }, {}

    def infer(self, arrays: Arrays) -> Answer:
        """Run once, checked."""
        backend = self._open_backend()
        started = time.perf_counter()
        outputs = backend.infer(arrays)
        return {"infer_ms": _since_ms(started)}, outputs

    def sample(
        self,
        arrays: Arrays,
        *,
        duration_s: float,
        warmup_floor_s: float = 0.1,
        warmup_ceiling_s: float = 5.0,
        max_calls: int = 1_000_000,
        packed: bool = False,
        probe: bool = True,
        ours: Sequence[int] = (),
    ) -> Answer:
        """Time the backend; with `packed`, the arrays are several inputs, taken in turn.

        Unless told not to `probe`, the machine's own speed is probed before and after; `ours` are
        the pids of workers beside this one, which are no strangers.
        """
        backend = self._open_backend()
        runs = [backend.prepare(each) for each in (unpack_samples(arrays) if packed else [arrays])]
        probes_ms = [machine.probe_ms()] if probe else []
        guard = Guard(self._watcher(), ours)
        samples = sampling.sample(
            runs,
            duration_s=duration_s,
            warmup_floor_s=warmup_floor_s,
            warmup_ceiling_s=warmup_ceiling_s,
            max_calls=max_calls,
            synchronize=backend.synchronize,
        )
        guarded = guard.end(samples.warmup_s)
        affinity.refuse_strays(affinity.pinned())
        seen = guarded["seen"]
        calls = samples.warmup_calls + len(samples.ns) * samples.calls_per_sample
        device_ns = sampling.device_times(runs, backend.device_timer(), duration_s=_DEVICE_S)
        if probe:
            probes_ms.append(machine.probe_ms())
        return {
            **samples.as_fields(),
            "percentiles_ms": sampling.percentiles_ms(samples.ns),
            "device_percentiles_ms": sampling.percentiles_ms(device_ns) if len(device_ns) else {},
            "probes_ms": probes_ms,
            **guarded,
            "joules": seen["watts"] and seen["watts"] * seen["seconds"] / calls,
            "peak_mib": memory.peak_mib(),
            "ran": backend.describe(),
        }, {"ns": samples.ns}

    def guard(self, _arrays: Arrays, *, begin: bool, ours: Sequence[int] = ()) -> Answer:
        """Watch the machine from a first call that begins to a second that tells, as `sample` does.

        `ours` are the pids of workers beside this one, which are no strangers.
        """
        guard, self._guard = self._guard, None
        if begin:
            self._guard = Guard(self._watcher(), ours)
            return {}, {}
        if guard is None:
            raise InferbenchError("IB-313", "nothing is guarded", "Call `guard` to begin first.")
        return guard.end(), {}

    def warm(
        self, arrays: Arrays, *, warmup_floor_s: float = 0.1, warmup_ceiling_s: float = 5.0
    ) -> Answer:
        """Warm the backend up on packed inputs, to be timed by `burst`."""
        backend = self._open_backend()
        self._bursts = Bursts(
            [backend.prepare(each) for each in unpack_samples(arrays)],
            warmup_floor_s=warmup_floor_s,
            warmup_ceiling_s=warmup_ceiling_s,
            synchronize=backend.synchronize,
        )
        return {**self._bursts.facts(), "peak_mib": memory.peak_mib()}, {}

    def burst(self, _arrays: Arrays, *, duration_s: float) -> Answer:
        """Time what was warmed up, for a short while."""
        if self._bursts is None:
            raise InferbenchError("IB-313", "nothing was warmed up", "Call `warm` first.")
        return {}, {"ns": self._bursts.take(duration_s)}

    def memory(self, arrays: Arrays, *, calls: int = 0) -> Answer:
        """Tell resident and peak memory, and its growth over a number of calls."""
        growth_mib = 0.0
        watcher = self._watcher()
        held_mib = watcher.held_mib()
        if calls:
            growth_mib = memory.growth_mib(self._open_backend().prepare(arrays), calls)
        now_mib = watcher.held_mib()
        told = held_mib is not None and now_mib is not None
        return {
            "start_mib": self._start_mib,
            "rss_mib": memory.rss_mib(),
            "peak_mib": memory.peak_mib(),
            "growth_mib": growth_mib,
            "device_mib": watcher.device_mib(),
            "device_missing": watcher.why_no_device_memory(),
            "device_growth_mib": (now_mib or 0.0) - (held_mib or 0.0) if told else None,
            "calls": calls,
        }, {}

    def placement(self, arrays: Arrays, *, runs: bool = True) -> Answer:
        """Tell where the open artifact's nodes run, in what and as what; maybe without a run."""
        return self._open_backend().placement(arrays if runs else None), {}

    def examine(
        self, arrays: Arrays, *, check: str, count: int = 4, tolerance: float = 0.0
    ) -> Answer:
        """Examine the open backend on packed inputs; tell the faults that were found."""
        backend, samples = self._open_backend(), unpack_samples(arrays)
        checks: dict[str, Callable[[], list[str]]] = {
            "layouts": lambda: exam.layouts(backend, samples),
            "ownership": lambda: exam.ownership(backend, samples),
            "threads": lambda: exam.threads(backend, samples, count, tolerance),
        }
        if check not in checks:
            raise InferbenchError(
                "IB-311", f"there is no examination {check!r}", f"There are: {', '.join(checks)}."
            )
        return {"faults": checks[check]()}, {}

    def reopen(
        self,
        arrays: Arrays,
        *,
        times: int,
        budget_s: float,
        fewest: int = 20,
        backend_module: str,
        artifact: str,
        options: Fields | None = None,
        precision: str = "fp32",
    ) -> Answer:
        """Open, run and close an artifact over and over; tell the memory that was gained.

        Times may be fewer where they would take longer than the budget.
        """
        if self._backend is not None:
            raise InferbenchError("IB-313", "an artifact is already open", "Close it first.")
        growth_mib, done = exam.reopening(
            lambda: _opened(backend_module, artifact, options, precision),
            arrays,
            times,
            budget_s,
            fewest,
        )
        return {"growth_mib": growth_mib, "times": done}, {}

    def run_case(
        self,
        arrays: Arrays,
        *,
        backend_module: str,
        options: Fields,
        precision: str,
        sets: int,
        with_versions: bool = False,
    ) -> Answer:
        """Open, run and close one small model that comes with its inputs; see `serve.run_case`."""
        from pytest_inferbench.onnx_cases.serve import run_case

        backend = _backend_class(backend_module)()
        fields, outputs = run_case(backend, arrays, options=options, precision=precision, sets=sets)
        if with_versions:
            fields["versions"] = installed([*backend.distributions, "numpy"])
        return fields, outputs

    def close(self, _arrays: Arrays) -> Answer:
        """Close the artifact, if one is open."""
        backend, self._backend, self._bursts = self._backend, None, None
        if backend is not None:
            backend.close()
        return {}, {}

    def scratch(self, arrays: Arrays, *, name: str = "") -> Answer:
        """Write the array `data` to a file of the worker's own; without a name, remove them all."""
        if not name:
            folder, self._scratch = self._scratch, None
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            return {}, {}
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="inferbench-"))
        path = self._scratch / Path(name).name
        path.write_bytes(arrays["data"].data)
        return {"path": str(path)}, {}

    def hardware(self, _arrays: Arrays) -> Answer:
        """Tell which devices this machine has."""
        return hardware_here(), {}

    def _watcher(self) -> Watcher:
        if self._watched is None:
            self._watched = Watcher()
        return self._watched

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise InferbenchError("IB-313", "no artifact is open", "Open one first.")
        return self._backend


def _opened(name: str, artifact: str, options: Fields | None, precision: str) -> Backend:
    backend = _backend_class(name)()
    backend.open(artifact, options or {}, precision)
    return backend


def _backend_class(name: str) -> type[Backend]:
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise InferbenchError(
            "IB-314",
            f"{name!r} names no Backend",
            "Write `module:Class`, a subclass of pytest_inferbench.backends.contract.Backend.",
        )
    return found


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
