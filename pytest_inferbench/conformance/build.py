"""A cell's artifact as a build: takes its run, gives facts and what differs when built again."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.exam import off_by, relative_error
from pytest_inferbench.conformance.probes import ROUNDING

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun

_SAMPLES = 2


class Build:
    """What was built for a cell."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the recipes and the runtime tell of it; for one that only builds, of its build."""
        return {**self._run.artifact.facts, **self._run.opened["ran"]}

    def opens(self) -> bool:
        """Build it and open what was built; what cannot be raises an error that says why."""
        opened = self._run.opened
        return bool(opened["outputs"]) or not self._run.info.runs

    def again(self) -> list[str]:
        """Build once more from nothing and return how the outputs differ, beyond rounding.

        Raises:
            NotAsked: Nothing is built for this cell, or what is built here cannot run.
        """
        from pytest_inferbench.artifacts.cache import ArtifactCache
        from pytest_inferbench.provision import provide

        run = self._run
        if not run.info.runs:
            raise NotAsked(f"{run.cell.backend} only builds, so there are no outputs to compare")
        if not run.artifact.facts:
            raise NotAsked("nothing is built: the model runs as it is")
        samples = list(run.inputs[:_SAMPLES])
        first = [run.infer(sample) for sample in samples]
        with tempfile.TemporaryDirectory(prefix="inferbench-again-") as folder:
            fresh = provide(run.gate, run.cell, run.task, ArtifactCache(Path(folder)))
            with run.new_worker() as worker:
                worker.call("open", {**run.open_fields(), "artifact": fresh.path})
                second = [
                    run.as_numbers(worker.call("infer", {}, sample).arrays) for sample in samples
                ]
        rounding = ROUNDING[run.cell.precision]
        return [
            f"built again, {name} {off_by(error)} (sample {number})"
            for number, (one, other) in enumerate(zip(first, second, strict=True), 1)
            for name in one
            if (error := relative_error(one[name], other[name])) > rounding
        ]
