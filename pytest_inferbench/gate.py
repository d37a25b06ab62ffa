"""The gate: what one pytest process knows and holds while it judges cells.

Takes settings, options and the facts of this host; gives cells, their runs, and the ledger. Knows
nothing of pytest's items; one cell's worker is open at a time.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS, device_marker
from pytest_inferbench.backends.registry import catalog_of, checked, installed_backends
from pytest_inferbench.comparisons import gated
from pytest_inferbench.environments import (
    check_hardware,
    environment_facts,
    most_memory_mib,
)
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell, ModelAxes, build_matrix
from pytest_inferbench.named.resolve import why_absent
from pytest_inferbench.options import Options, options_of
from pytest_inferbench.partners import check_against, with_against
from pytest_inferbench.progress import Progress
from pytest_inferbench.serving.variants import with_servers
from pytest_inferbench.settings.serving import with_variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pytest

    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.backends.catalog import BackendInfo
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.host_lock import HostLock
    from pytest_inferbench.matrix import EnvironmentFacts
    from pytest_inferbench.onnx_cases.index import CaseIndex
    from pytest_inferbench.onnx_cases.runner import CaseRun
    from pytest_inferbench.reference import Reference
    from pytest_inferbench.report.coverage import Coverage
    from pytest_inferbench.settings.schema import ModelSettings, Settings
    from pytest_inferbench.tasks.base import Task
    from pytest_inferbench.telling import Voice
    from pytest_inferbench.worker.client import AnyWorker


_Run = TypeVar("_Run", "CellRun", "CaseRun")


class Gate:
    """One process's share of a session."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        hardware: Hardware,
        registered: Mapping[str, BackendInfo] | None = None,
        tasks: Mapping[str, type[Task]] | None = None,
    ) -> None:
        """Make the matrix.

        Args:
            settings: Checked settings.
            options: What the command line asked for.
            hardware: This host's devices.
            registered: Backends of third parties.
            tasks: Tasks of third parties.

        Raises:
            InferbenchError: The options ask for what cannot be compared.
        """
        settings = with_against(with_variants(settings), options)
        check_against(settings, options)
        catalog = catalog_of(registered or {}, settings.backends)
        self.catalog = with_servers(catalog, settings.backends, options.triton_url)
        self.settings = settings
        self.options = options
        self.hardware = hardware
        self.ledger = Ledger()
        self.comparisons = 1
        self.order: tuple[str, ...] = ()
        self.notices: list[str] = []
        self.told: list[str] = []
        self.say: Callable[[str], None] = lambda _line: None
        self.voice: Voice | None = None
        self._current: CellRun | CaseRun | None = None
        self.installations: dict[str, dict[str, str]] = {}
        self.registered_tasks = dict(tasks or {})
        self._tasks: dict[str, Task] = {}
        self._references: dict[str, Reference] = {}
        self.environments = {facts.name: facts for facts in self._facts()}
        self.cells = build_matrix(
            [
                ModelAxes(
                    name,
                    settings.backends_of(name),
                    model.precisions or settings.matrix.precisions,
                    frozenset(model.sources),
                    why_absent(model),
                )
                for name, model in settings.models.items()
            ],
            list(self.environments.values()),
            self.catalog,
        )

    def matrix_of(
        self,
        model: str,
        backends: Sequence[str],
        precisions: Sequence[str],
        *,
        on_this_host: bool = False,
    ) -> tuple[Cell, ...]:
        """Return the cells of one model over these axes, in the matrix or not.

        Args:
            model: Its name; one that the settings do not know has no sources.
            backends: Names of backends.
            precisions: Precisions.
            on_this_host: Whether environments on other hosts are left out.
        """
        known = self.settings.models.get(model)
        axes = ModelAxes(
            model,
            backends,
            precisions,
            frozenset(known.sources if known else ()),
            why_absent(known) if known else None,
        )
        there = [
            facts for facts in self.environments.values() if facts.host is None or not on_this_host
        ]
        return build_matrix([axes], there, self.catalog)

    def _facts(self) -> list[EnvironmentFacts]:
        if self.options.environments:
            return list(self.options.environments)
        wanted = {d for info in self.catalog.values() for d in info.distributions}
        return environment_facts(self.settings, self.hardware, wanted)

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        settings_file: Path | None = None,
        options: Options | None = None,
        registered: Iterable[tuple[str, object]] = (),
        tasks: Iterable[tuple[str, object]] = (),
    ) -> Gate:
        """Make the gate of a folder: its settings, or the built-in model where it has none.

        Args:
            folder: Where to look for settings.
            settings_file: The file to take instead.
            options: What the command line asked for.
            registered: Backends beyond those that installed distributions register, each with
                the words for where it comes from.
            tasks: Tasks beyond those that installed distributions register, likewise.

        Raises:
            InferbenchError: The settings are wrong.
        """
        from pytest_inferbench.builtin import with_builtin_models
        from pytest_inferbench.hardware import detect
        from pytest_inferbench.settings import load
        from pytest_inferbench.tasks.registry import checked_tasks, installed_tasks, kinds_of

        others = {**installed_backends(), **checked(registered)}
        others_tasks = checked_tasks(tasks, installed_tasks())
        settings = load(settings_file or folder, {**CATALOG, **others}, kinds_of(others_tasks))
        with_models = with_builtin_models(settings)
        return cls(with_models, options or Options(), detect(), others, others_tasks)

    @classmethod
    def from_config(cls, config: pytest.Config, settings_file: Path | None) -> Gate:
        """Make the gate of a pytest run.

        Raises:
            InferbenchError: The settings are wrong.
        """
        registered = [
            ("the hook pytest_inferbench_backends", info)
            for infos in config.hook.pytest_inferbench_backends(config=config)
            for info in infos
        ]
        tasks = [
            ("the hook pytest_inferbench_tasks", task)
            for answers in config.hook.pytest_inferbench_tasks(config=config)
            for task in answers
        ]
        return cls.from_folder(
            config.rootpath, settings_file, options_of(config), registered, tasks
        )

    @cached_property
    def cells_by_id(self) -> dict[str, Cell]:
        """Every cell of the matrix by its id."""
        return {cell.id: cell for cell in self.cells}

    @cached_property
    def cache(self) -> ArtifactCache:
        """The store of built artifacts on this host."""
        from pytest_inferbench.artifacts.cache import ArtifactCache, default_root

        return ArtifactCache(self.settings.cache or default_root())

    @cached_property
    def baselines(self) -> BaselineStore:
        """The recorded sessions, in git."""
        from pytest_inferbench.baselines.store import BaselineStore

        return BaselineStore(self.settings.baselines)

    @cached_property
    def host(self) -> HostLock:
        """The lock that timing takes exclusively and everything else takes shared."""
        from pytest_inferbench.host_lock import HostLock

        default = Path(tempfile.gettempdir()) / f"inferbench-lock-{os.getuid()}"
        return HostLock(self.settings.lock or default)

    @property
    def markers(self) -> frozenset[str]:
        """Every marker that may be selected by, cells that were not asked for included."""
        known = {"ort", "triton", *PRECISIONS, *device_marker("cpu"), *device_marker("nvidia")}
        known |= {marker for info in self.catalog.values() for marker in info.markers}
        return frozenset(known | {marker for cell in self.cells for marker in cell.markers})

    def model(self, cell: Cell) -> ModelSettings:
        """The settings of a cell's model."""
        return self.settings.models[cell.model]

    def count_comparisons(self, cells: Iterable[Cell]) -> None:
        """Count the gated comparisons that share the session's error budget."""
        able = [cell for cell in cells if not cell.cannot_run]
        self.comparisons = max(1, sum(gated(self.settings, self.catalog, cell) for cell in able))

    def run_of(self, cell: Cell) -> CellRun:
        """Return the cell's run; whatever other cell was open is closed first."""
        from pytest_inferbench.cellrun import CellRun

        return self._only(cell, CellRun)

    def case_run_of(self, cell: Cell) -> CaseRun:
        """Return the run of ONNX's cases on a cell, likewise the only one that is open."""
        from pytest_inferbench.onnx_cases.runner import CaseRun

        return self._only(cell, CaseRun)

    def _only(self, cell: Cell, kind: type[_Run]) -> _Run:
        current = self._current
        if not isinstance(current, kind) or current.cell != cell:
            self.close()
            self._current = current = kind(self, cell)
        return current

    @cached_property
    def onnx_cells(self) -> tuple[Cell, ...]:
        """The cells that ONNX's own cases run on: each backend of the matrix that takes ONNX."""
        from pytest_inferbench.onnx_cases import MODEL

        asked = dict.fromkeys([cell.backend for cell in self.cells])
        takes_onnx = [
            name
            for name in asked
            if (info := self.catalog[name]).source == "onnx"
            and info.runs
            and info.devices[0] != "remote"
            and not info.served  # its operators are those of the runtime in it
            and "fp32" in info.precisions
        ]
        return self.matrix_of(MODEL, takes_onnx, ["fp32"])

    def coverage(self) -> list[Coverage]:
        """How ONNX's own cases ended, by cell."""
        from pytest_inferbench.report.coverage import coverage

        return coverage(self.ledger.ours, [cell.id for cell in self.onnx_cells])

    @cached_property
    def onnx_index(self) -> CaseIndex:
        """ONNX's own cases."""
        from pytest_inferbench.onnx_cases.index import CaseIndex

        return CaseIndex(self.cache, self.say)

    def task_of(self, name: str) -> Task:
        """Return a model's task with its data, shared by all of its cells."""
        from pytest_inferbench.tasks.registry import make_task

        if name not in self._tasks:
            model = self.settings.models[name]
            made = make_task(name, model, self.cache, self.say, self.registered_tasks)
            self._tasks[name] = made
        return self._tasks[name]

    def reference_of(self, name: str) -> Reference:
        """Return a model's reference, shared by all of its cells."""
        from pytest_inferbench.reference import Reference

        if name not in self._references:
            self._references[name] = Reference(self, self.task_of(name))
        return self._references[name]

    def launch(
        self, environment: str, modules: Sequence[str], env: Mapping[str, str] | None = None
    ) -> AnyWorker:
        """Start a worker in an environment, within the settings' limits.

        Args:
            environment: Its name.
            modules: Modules to ship to it beyond its own.
            env: Environment variables beside those of the settings.
        """
        from pytest_inferbench.worker.client import Environment, InProcessWorker, Limits, launch

        facts = self.environments[environment]
        if self.options.in_process:
            self._refuse_elsewhere(facts)
            return InProcessWorker()
        check_hardware(environment, facts.hardware, (facts.cpu, *facts.gpus), facts.host)
        declared = self.settings.environments.get(environment)
        where = Environment(
            name=environment,
            python=declared.python if declared else None,
            ssh=facts.host,
            env={**(declared.env if declared else {}), **(env or {})},
        )
        limits = self.settings.worker
        return launch(
            where,
            Limits(
                open_timeout_s=limits.open_timeout_s,
                call_timeout_s=limits.call_timeout_s,
                build_timeout_s=limits.build_timeout_s,
                memory_mib=limits.memory_mib or most_memory_mib(facts),
            ),
            modules,
        )

    def _refuse_elsewhere(self, facts: EnvironmentFacts) -> None:
        if facts.host is not None or facts.python != sys.executable:
            where = f"{facts.python} on {facts.host}" if facts.host else facts.python
            raise InferbenchError(
                "IB-390",
                f"environment {facts.name} is {where}, and --inferbench-in-process runs everything"
                " in pytest's own Python",
                "Leave the option out, or deselect the cells of that environment.",
            )

    def nth(self, cell: Cell) -> str:
        """Return which cell this is of those that the session runs, to begin a line with."""
        if cell.id not in self.order:
            return ""
        return f"cell {self.order.index(cell.id) + 1} of {len(self.order)}: "

    def tell(self, notice: str) -> None:
        """Say what happened, now and, with the report of the item that runs, at the end."""
        self.told.append(notice)
        self.say(notice)

    def progress(self, what: str) -> Progress:
        """Return what is told how long an activity has taken, and says so when it is long."""
        if self.voice is None:
            return Progress(self.say, what)
        return Progress(self.voice.show, what, every=True)

    def speak_with(self, voice: Voice) -> None:
        """Say and show things with a session's voice."""
        self.say, self.voice = voice.say, voice

    def hush(self) -> None:
        """Take back a line of progress that is drawn, before somebody else writes."""
        if self.voice is not None:
            self.voice.hide()

    def close(self) -> None:
        """Close the open cell's worker, if any."""
        if self._current is not None:
            self._current.close()
            self._current = None
