"""What is installed where: takes settings and hardware, gives facts about each environment.

Reads distribution metadata, in a subprocess for another interpreter; imports no runtime.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.matrix import EnvironmentFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.settings.schema import Settings

_ALSO_RECORDED = ("numpy", "onnx", "nncf")

_QUERY = """
import json, sys
from importlib import metadata
found = {}
for name in json.loads(sys.argv[1]):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def environment_facts(
    settings: Settings, hardware: Hardware, wanted: Iterable[str]
) -> list[EnvironmentFacts]:
    """Return the default environment and every declared one, in that order.

    Args:
        settings: What declares them.
        hardware: This host's devices.
        wanted: The distributions that backends need.
    """
    names = sorted({*wanted, *_ALSO_RECORDED})
    default = EnvironmentFacts(
        "default", _installed_here(names), hardware.cpu, hardware.gpus, python=sys.executable
    )
    declared = [
        EnvironmentFacts(
            name=name,
            distributions=(
                _installed_in(name, environment.python, names)
                if environment.python
                else default.distributions
            ),
            cpu=hardware.cpu,
            gpus=hardware.gpus,
            backends=tuple(environment.backends),
            hardware=environment.hardware,
            python=environment.python or sys.executable,
        )
        for name, environment in settings.environments.items()
    ]
    return [default, *declared]


def _installed_here(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _installed_in(environment: str, python: str, names: list[str]) -> dict[str, str]:
    try:
        done = subprocess.run(
            [python, "-c", _QUERY, json.dumps(names)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InferbenchError(
            "IB-203",
            f"environments.{environment}.python: {Path(python)} did not answer: {error}",
            "Give the path of a Python interpreter, 3.10 or newer.",
        ) from error
    return found
