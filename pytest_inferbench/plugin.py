"""pytest's hooks, and nothing else: each is a few lines that call the parts.

Importing this costs every pytest run of every project that has it installed, so it imports pytest
and nothing more. The hooks that run for every test are registered only once a gate exists: when
one of our suites, options or fixtures is in play.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferbench.gate import Gate

pytest_plugins = ["pytest_inferbench.testkit"]

OPTIONS: dict[str, dict[str, Any]] = {
    "--inferbench-require": {
        "action": "append",
        "default": [],
        "metavar": "EXPR",
        "help": "cells matching this marker expression must reach a verdict (repeatable)",
    },
    "--update-baselines": {
        "dest": "inferbench_update",
        "action": "store_const",
        "const": "add",
        "help": "record this session as a baseline of the selected cells",
    },
    # An option of its own, for one with an optional value would swallow the path that follows it.
    "--update-baselines=replace": {
        "dest": "inferbench_update",
        "action": "store_const",
        "const": "replace",
        "help": "record this session in place of the ones recorded before",
    },
    "--inferbench-reason": {
        "metavar": "TEXT",
        "default": "",
        "help": "why the baselines change; kept in the file",
    },
    "--inferbench-settings": {
        "metavar": "PATH",
        "help": "the settings file (default: inferbench.toml or [tool.inferbench] here)",
    },
    "--inferbench-suites": {
        "action": "store_true",
        "help": "collect the packaged suites beside the paths given",
    },
    "--inferbench-json": {
        "metavar": "PATH",
        "help": "write what was measured and judged to PATH",
    },
    "--inferbench-markdown": {
        "metavar": "PATH",
        "help": "write what came of it to PATH, as Markdown for a pull request (GitHub's summary of"
        " a step gets it without being asked)",
    },
    "--inferbench-html": {
        "metavar": "PATH",
        "help": "write what was measured and judged to PATH, as one HTML page that needs nothing"
        " else",
    },
    "--inferbench-coverage": {
        "metavar": "PATH",
        "help": "write how ONNX's own cases ended, per operator and opset, to PATH (Markdown)",
    },
    "--inferbench-raw": {
        "metavar": "DIR",
        "help": "keep every timing, compressed, in a file a run in DIR",
    },
    "--inferbench-bisect": {
        "action": "store_true",
        "help": "name the first layer that diverges when an accuracy test fails",
    },
    "--inferbench-against": {
        "metavar": "PYTHON",
        "help": "compare the time of each cell with the same cell in another environment, side by "
        "side and without a baseline: a Python, a virtual environment, or one of the "
        "settings",
    },
    "--inferbench-against-model": {
        "metavar": "OLD.onnx",
        "help": "compare it with the same cell of an older file of the model, likewise",
    },
    "--inferbench-triton-url": {
        "metavar": "URL",
        "help": "ask this Triton server, grpc://host:8001 or http://host:8000, instead of starting "
        "one a cell; it serves the models already, by the names that the settings give them",
    },
    "--inferbench-in-process": {
        "action": "store_true",
        "help": "run backends in the pytest process, for a debugger; nothing is isolated then",
    },
}
"""What the command line may say, in the order of `pytest --help`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the command-line options."""
    group = parser.getgroup("inferbench", "inference gate")
    for name, how in OPTIONS.items():
        group.addoption(name, **how)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    from pytest_inferbench import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Find the suites; when they are in play, check the settings before anything runs."""
    from pytest_inferbench import entry

    entry.configure(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize every test that asks for a cell."""
    if "_inferbench_case" in metafunc.fixturenames:
        from pytest_inferbench.onnx_cases import items as cases

        cases.parametrize(metafunc)
    elif "_inferbench_cell" in metafunc.fixturenames:
        from pytest_inferbench import items

        items.parametrize(metafunc)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Group tests by cell under xdist."""
    from pytest_inferbench import entry

    return entry.scheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell xdist's processes what is known of the environments, and hear what they say."""
    from pytest_inferbench import entry

    entry.prepare(node)


class GateHooks:
    """The hooks of a run that a gate takes part in."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """End a parallel session whose settings are wrong about the cells that it selected."""
        from pytest_inferbench.items import refuse_misdeclared
        from pytest_inferbench.scheduling import cells_in

        refuse_misdeclared(self.gate, cells_in(ids, self.gate.cells_by_id))

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Leave ONNX's own cases, sweeps and serving out of a run that did not ask for them."""
        from pytest_inferbench import optional
        from pytest_inferbench.onnx_cases.items import leave_out

        others = optional.leave_out(self.gate, config, collection_path)
        return leave_out(config, collection_path) or others

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """Group items by cell, let one stand for each that cannot run, add requirements.

        After everybody else, `--lf` and `--ff` included: the last word on the order is ours.
        """
        from pytest_inferbench.items import arrange

        result = yield
        arrange(self.gate, session, items)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Hold the host's lock, shared, while one of our items runs."""
        from pytest_inferbench.items import holding_the_host

        with holding_the_host(self.gate, item):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a cell that cannot run here, with its reason."""
        from pytest_inferbench.items import skip_if_it_cannot_run

        skip_if_it_cannot_run(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Fail an item that is run again although it had regressed."""
        from pytest_inferbench.items import fail_if_it_regressed

        fail_if_it_regressed(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put what the item measured and concluded on its report."""
        from pytest_inferbench.items import annotate

        report = yield
        annotate(item, call, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Take back a line that is drawn, before pytest writes."""
        self.gate.hush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of every item."""
        from pytest_inferbench.items import note

        self.gate.hush()
        note(self.gate, report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close workers, check requirements, write baselines and results, settle the exit."""
        from pytest_inferbench.finish import finish

        finish(self.gate, session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        from pytest_inferbench.report.terminal import summarize

        summarize(self.gate, terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Close what is still open, however the session ended."""
        self.gate.close()
