"""The command line: takes pytest's config, gives the options that concern a gate, checked.

Whoever takes `Options` is free of pytest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.environments import facts_sent
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.requirements import check_expression

if TYPE_CHECKING:
    import pytest

    from pytest_inferbench.matrix import EnvironmentFacts


@dataclass(frozen=True)
class Options:
    """The command-line options that concern a gate, free of pytest.

    Attributes:
        against: The environment to compare with, as it was given: a path or a name.
        against_python: The same as a path from where pytest was started.
        against_model: The older ONNX file to compare with.
        triton_url: The Triton server that serves the models already; empty to start one a cell.
        command: The arguments that pytest was given.
        environments: What the controller of a parallel session has found, so that one host is
            asked once, and every process has the same cells.
    """

    require: tuple[str, ...] = ()
    update: str | None = None
    reason: str = ""
    json_path: Path | None = None
    markdown_path: Path | None = None
    html_path: Path | None = None
    coverage_path: Path | None = None
    raw_folder: Path | None = None
    in_process: bool = False
    bisect: bool = False
    against: str | None = None
    against_python: Path | None = None
    against_model: Path | None = None
    triton_url: str = ""
    command: tuple[str, ...] = ()
    environments: tuple[EnvironmentFacts, ...] = ()

    @property
    def compares(self) -> bool:
        """Whether cells are compared side by side instead of with their baselines."""
        return self.against is not None or self.against_model is not None


def options_of(config: pytest.Config) -> Options:
    """Return the options of a pytest run.

    Raises:
        InferbenchError: They contradict each other, or an expression cannot be read.
    """

    def path_of(option: str) -> Path | None:
        given = config.getoption(option)
        # not resolved: the Python of a virtual environment is a link to another
        return Path(config.invocation_params.dir, given) if given else None

    options = Options(
        require=tuple(config.getoption("inferbench_require")),
        update=config.getoption("inferbench_update"),
        reason=config.getoption("inferbench_reason"),
        json_path=path_of("inferbench_json"),
        markdown_path=path_of("inferbench_markdown"),
        html_path=path_of("inferbench_html"),
        coverage_path=path_of("inferbench_coverage"),
        raw_folder=path_of("inferbench_raw"),
        in_process=config.getoption("inferbench_in_process"),
        bisect=config.getoption("inferbench_bisect"),
        against=config.getoption("inferbench_against"),
        against_python=path_of("inferbench_against"),
        against_model=path_of("inferbench_against_model"),
        triton_url=config.getoption("inferbench_triton_url") or "",
        command=tuple(map(str, config.invocation_params.args)),
        environments=facts_sent(getattr(config, "workerinput", {})),
    )
    for text in options.require:
        check_expression(text)
    if options.in_process and options.update:
        raise InferbenchError(
            "IB-210",
            "--update-baselines needs workers: figures of pytest's own process are no baseline",
            "Leave out --inferbench-in-process.",
        )
    return options
