"""Which packaged tests a run leaves out unless they are asked for: those that cost much by default.

Takes pytest's config, the gate and a path; says whether it is left out. ONNX's own cases have
their own rule, in `onnx_cases/items.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.locate import packaged_folder

if TYPE_CHECKING:
    import pytest

    from pytest_inferbench.gate import Gate
    from pytest_inferbench.settings.schema import Settings

_THROUGHPUT_FILE = "test_throughput.py"
_SERVING = "serving"


def leave_out(gate: Gate, config: pytest.Config, path: Path) -> bool | None:
    """Return True for a packaged test that nobody asked for; else None.

    Tests of serving are asked for by a server in the matrix, throughput as `wants_throughput` says.
    """
    if path.parent == packaged_folder("suites") / _SERVING and path.suffix == ".py":
        named, _ = asked_for(config)
        asked = path.resolve() in named or any(
            gate.catalog[cell.backend].is_server for cell in gate.cells
        )
        return None if asked else True
    if path.name != _THROUGHPUT_FILE or path.parent.name != "latency":
        return None
    named, selections = asked_for(config)
    asked = path.resolve() in named or wants_throughput(gate.settings, selections)
    return None if asked else True


def asked_for(config: pytest.Config) -> tuple[list[Path], list[str]]:
    """Return the paths that the command line names, and the expressions of `-m` and `-k`."""
    named = [
        Path(config.invocation_params.dir, argument.partition("::")[0]).resolve()
        for argument in config.args
    ]
    return named, [config.getoption("markexpr") or "", config.getoption("keyword") or ""]


def wants_throughput(settings: Settings, selections: Sequence[str]) -> bool:
    """Whether batch sizes are to be swept.

    Args:
        settings: Batch sizes or a budget on throughput ask for it.
        selections: So do the expressions of `-m` and `-k` that name it.
    """
    return (
        bool(settings.latency.batches)
        or any("throughput" in model.budgets for model in settings.models.values())
        or any("throughput" in text for text in selections)
    )
