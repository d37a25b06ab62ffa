"""The gate: what one pytest process knows and holds while it judges cells.

Takes settings, options and the facts of this host; gives cells, their runs, and the ledger. Knows
nothing of pytest's items; one cell's worker is open at a time.
"""

from __future__ import annotations

import getpass
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.environments import environment_facts
from pytest_inferbench.ledger import Ledger
from pytest_inferbench.matrix import Cell, ModelAxes, build_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.baselines.store import BaselineStore
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.host_lock import HostLock
    from pytest_inferbench.settings.schema import ModelSettings, Settings


@dataclass(frozen=True)
class Options:
    """The command-line options that concern a gate, free of pytest."""

    require: tuple[str, ...] = ()
    update: str | None = None
    reason: str = ""
    json_path: Path | None = None
    in_process: bool = False


class Gate:
    """One process's share of a session."""

    def __init__(
        self, settings: Settings, options: Options, hardware: Hardware, home: Path
    ) -> None:
        """Make the matrix.

        Args:
            settings: Checked settings.
            options: What the command line asked for.
            hardware: This host's devices.
            home: The folder that relative places (baselines) belong to.
        """
        self.settings = settings
        self.options = options
        self.hardware = hardware
        self.home = home
        self.ledger = Ledger()
        self.comparisons = 1
        self.notices: list[str] = []
        self.say: Callable[[str], None] = lambda _line: None
        self._current: CellRun | None = None
        environments = environment_facts(settings, hardware)
        self.environments = {facts.name: facts for facts in environments}
        self.cells = build_matrix(
            [
                ModelAxes(
                    name,
                    model.backends or settings.matrix.backends,
                    model.precisions or settings.matrix.precisions,
                )
                for name, model in settings.models.items()
            ],
            environments,
        )

    @classmethod
    def from_config(cls, config: pytest.Config) -> Gate:
        """Make the gate of a pytest run.

        Raises:
            InferbenchError: The settings are wrong.
        """
        from pytest_inferbench.builtin import with_builtin_models
        from pytest_inferbench.entry import settings_file
        from pytest_inferbench.hardware import detect
        from pytest_inferbench.settings import load

        file = settings_file(config)
        settings = with_builtin_models(load(file))
        home = file.parent if file else config.rootpath
        json_path = config.getoption("inferbench_json")
        options = Options(
            require=tuple(config.getoption("inferbench_require")),
            update=config.getoption("inferbench_update"),
            reason=config.getoption("inferbench_reason"),
            json_path=Path(config.invocation_params.dir, json_path) if json_path else None,
            in_process=config.getoption("inferbench_in_process"),
        )
        return cls(settings, options, detect(), home)

    @cached_property
    def cells_by_id(self) -> dict[str, Cell]:
        """Every cell of the matrix by its id."""
        return {cell.id: cell for cell in self.cells}

    @cached_property
    def cache(self) -> ArtifactCache:
        """The store of built artifacts on this host."""
        from pytest_inferbench.artifacts.cache import ArtifactCache, default_root

        folder = self.settings.cache
        return ArtifactCache(self.home / folder if folder else default_root())

    @cached_property
    def baselines(self) -> BaselineStore:
        """The recorded sessions, in git."""
        from pytest_inferbench.baselines.store import BaselineStore

        return BaselineStore(self.home / self.settings.baselines)

    @cached_property
    def host(self) -> HostLock:
        """The lock that timing takes exclusively and everything else takes shared."""
        from pytest_inferbench.host_lock import HostLock

        folder = self.settings.lock
        default = Path(tempfile.gettempdir()) / f"inferbench-lock-{getpass.getuser()}"
        return HostLock(self.home / folder if folder else default)

    def model(self, cell: Cell) -> ModelSettings:
        """The settings of a cell's model."""
        return self.settings.models[cell.model]

    def run_of(self, cell: Cell) -> CellRun:
        """Return the cell's run; whatever other cell was open is closed first."""
        from pytest_inferbench.cellrun import CellRun

        if self._current is None or self._current.cell != cell:
            self.close()
            self._current = CellRun(self, cell)
        return self._current

    def close(self) -> None:
        """Close the open cell's worker, if any."""
        if self._current is not None:
            self._current.close()
            self._current = None
