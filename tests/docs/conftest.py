"""What tests of documents share: how a page's blocks and commands are read."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).with_name("shown.py")


@pytest.fixture(scope="session")
def shown():
    """The module that reads what is shown."""
    spec = importlib.util.spec_from_file_location("inferbench_docs_shown", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def faults_of(shown, pytestconfig):
    """What is wrong with a line of shell, by the parsers of this very pytest."""

    def faults(line):
        return shown.faults(line, pytestconfig._parser.parse_known_and_unknown_args)

    return faults


@pytest.fixture(scope="session")
def run():
    """Run a line of shell in a folder, with this Python's programs first on the path."""

    def run(command, folder, timeout_s=900):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
        return subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
