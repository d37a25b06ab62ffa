"""What an environment is: takes names of distributions, gives versions and hardware, plainly.

Imports no runtime: what is installed is read from metadata. Runs in the environment asked about.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed here."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware_here() -> dict[str, Any]:
    """Return this machine's ids and facts; see `hardware.Hardware`."""
    from pytest_inferbench.hardware import detect

    found = detect()
    return {"cpu": found.cpu, "gpus": list(found.gpus), "facts": dict(found.facts)}


def survey(names: Iterable[str]) -> dict[str, Any]:
    """Return all that is known of this environment before a worker runs in it."""
    return {
        "python": platform.python_version(),
        "distributions": installed(names),
        **hardware_here(),
    }
