"""Which packaged tests a run leaves out unless they are asked for: those that cost much by default.

Takes pytest's config, the gate and a path; says whether it is left out. ONNX's own cases have
their own rule, in `onnx_cases/items.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_inferbench.gate import Gate
    from pytest_inferbench.settings.schema import Settings

_THROUGHPUT_FILE = "test_throughput.py"
_SERVING = ("suites", "serving")
_CHAOS_FILE = "test_chaos.py"
_CHAOS, _NO_CHAOS = re.compile(r"\bchaos\b|test_chaos"), re.compile(r"\bnot\s+\(?\s*chaos\b")


def leave_out(gate: Gate, config: pytest.Config, path: Path) -> bool | None:
    """Return True for a packaged test that nobody asked for; else None.

    Tests of serving are asked for by a server in the matrix, those of its resilience by `chaos` in
    an expression too, or by their path alone; throughput as `wants_throughput` says.
    """
    if path.parent.parts[-2:] == _SERVING and path.suffix == ".py":
        named, selections = asked_for(config)
        asked = path.resolve() in named or (
            any(gate.catalog[cell.backend].served for cell in gate.cells)
            and (path.name != _CHAOS_FILE or wants_chaos(selections))
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


def wants_chaos(selections: Sequence[str]) -> bool:
    """Whether servers are to be broken: an expression of `-m` or `-k` names it, none refuses."""
    return any(_CHAOS.search(text) for text in selections) and not any(
        _NO_CHAOS.search(text) for text in selections
    )
