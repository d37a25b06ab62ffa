"""Decides whether a run concerns us, and only then makes the gate.

Takes pytest's config; gives a registered `Gate`, or nothing. Settings errors end the run here,
before anything is collected (exit status 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferbench.locate import packaged_folder

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

_GATE = pytest.StashKey["Gate"]()

_MARKERS = (
    "inferbench(models, backends, precisions, tasks, budgets): narrow the cells that a test is"
    " parametrized over (each a list of names)",
    "conformance: the backend keeps its contract",
    "onnx_ops: ONNX's own backend tests; collected only when asked for by name or by path",
    "accuracy: the outputs and scores are within budget",
    "latency: the time of an inference is within budget",
    "memory: the memory it takes is within budget",
    "energy: the power and the energy it takes are within budget",
    "speedup: a cell is as many times as fast as another as it must be",
    "cold_start: opening it and the first inference are within budget",
    "chaos: a server withstands what goes wrong around it; runs with `-m chaos` alone",
    "serving: a server in the matrix answers rightly and is fast enough under load",
    "throughput: inferences a second by batch size; collected where batches or a budget are set",
)
_OPTIONS_IN_PLAY = (
    "inferbench_require",
    "inferbench_update",
    "inferbench_json",
    "inferbench_markdown",
    "inferbench_html",
    "inferbench_coverage",
    "inferbench_raw",
    "inferbench_against",
    "inferbench_against_model",
    "inferbench_triton_url",
)


def configure(config: pytest.Config) -> None:
    """Add the packaged suites where they are wanted; make the gate if we are in play."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    suites = packaged_folder("suites")
    config.args[:] = [_as_shown(config, argument, suites) for argument in config.args]
    wanted = _wants_suites(config)
    if wanted:
        from pytest_inferbench.reach import add_suites

        add_suites(config, suites)
    asked = any(config.getoption(name) for name in _OPTIONS_IN_PLAY)
    if wanted or asked or any(_is_inside(config, argument, suites) for argument in config.args):
        gate_of(config)


def gate_of(config: pytest.Config) -> Gate:
    """Return this run's gate, made and registered on first use.

    Raises:
        pytest.UsageError: The settings are wrong.
    """
    if (gate := existing_gate(config)) is not None:
        return gate
    from pytest_inferbench.errors import InferbenchError
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.plugin import GateHooks
    from pytest_inferbench.telling import voice_of

    try:
        gate = Gate.from_config(config, settings_file(config))
    except InferbenchError as error:
        raise pytest.UsageError(str(error)) from None
    gate.speak_with(voice_of(config))
    for marker in sorted(gate.markers):
        config.addinivalue_line("markers", f"{marker}: cells of the inference gate")
    config.stash[_GATE] = gate
    config.pluginmanager.register(GateHooks(gate), "inferbench-gate")
    return gate


def existing_gate(config: pytest.Config) -> Gate | None:
    """Return this run's gate if there is one."""
    return config.stash.get(_GATE, None)


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Return xdist's scheduler for a run with a gate, None to leave xdist alone."""
    gate = _gate_over_processes(config)
    if gate is None:
        return None
    from pytest_inferbench.scheduling import cell_scheduling

    return cell_scheduling(config, log, (cell.id for cell in (*gate.cells, *gate.onnx_cells)))


def prepare(node: Any) -> None:
    """Have a process that xdist is about to start share what is known here, and speak here."""
    gate = _gate_over_processes(node.config)
    if gate is not None:
        from pytest_inferbench.environments import send_facts
        from pytest_inferbench.telling import send_words

        send_facts(gate.environments.values(), node.workerinput)
        send_words(node, gate)


def _gate_over_processes(config: pytest.Config) -> Gate | None:
    if config.getoption("dist") == "each":
        return None
    if existing_gate(config) is None and settings_file(config) is None:
        return None
    return gate_of(config)


def settings_file(config: pytest.Config) -> Path | None:
    """Return the settings file of this run: the one named, or the nearest of two folders."""
    from pytest_inferbench.settings.find import FILE_NAME, find

    named = config.getoption("inferbench_settings")
    if named:
        path = Path(config.invocation_params.dir, named)
        return find(path) or path / FILE_NAME if path.is_dir() else path
    return find(config.invocation_params.dir) or find(config.rootpath)


def _wants_suites(config: pytest.Config) -> bool:
    if config.getoption("inferbench_suites"):
        return True
    nothing_named = config.args_source == pytest.Config.ArgsSource.INVOCATION_DIR
    return nothing_named and settings_file(config) is not None


def _as_shown(config: pytest.Config, argument: str, suites: Path) -> str:
    """Return the path of a packaged test given by the id that pytest shows, else the argument."""
    file, *inside = argument.split("::", 1)
    found = suites / file.removeprefix("suites/")
    if not file or Path(config.invocation_params.dir, file).exists() or not found.exists():
        return argument
    return "::".join([str(found), *inside])


def _is_inside(config: pytest.Config, argument: str, folder: Path) -> bool:
    path = Path(config.invocation_params.dir, argument.partition("::")[0]).resolve()
    return path == folder or folder in path.parents
