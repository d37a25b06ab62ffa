"""`inferbench doctor`: what this machine is and which cells it can run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench import __version__
from pytest_inferbench.commands.arguments import Subparsers, add_json, add_settings, add_verb

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "doctor",
        "what this machine is and which cells it can run",
        ["inferbench doctor", "inferbench doctor --json"],
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from pytest_inferbench.gate import Gate

    gate = Gate.from_folder(Path.cwd(), options.settings)
    if options.json:
        print(json.dumps(_plain(gate), indent=1))
        return 0
    print(f"inferbench {__version__}")
    print(f"cpu       {gate.hardware.cpu}")
    print(f"gpus      {', '.join(gate.hardware.gpus) or 'none'}")
    for name, value in sorted(gate.hardware.facts.items()):
        print(f"          {name}: {value}")
    for environment in gate.environments.values():
        where = f" on {environment.host}" if environment.host else ""
        print(f"\nenvironment {environment.name}: {environment.python}{where}")
        if environment.unreachable:
            print(f"          {environment.unreachable}")
        elif environment.host:
            print(f"          is {', '.join((environment.cpu, *environment.gpus))}")
        for package, version in sorted(environment.distributions.items()):
            print(f"          {package} {version}")
    print("\ncells")
    for cell in gate.cells:
        print(f"  {'can run   ' if not cell.cannot_run else 'cannot run'} {cell}")
        if cell.cannot_run:
            print(f"             {cell.cannot_run}")
    return 0


def _plain(gate: Gate) -> dict[str, Any]:
    return {
        "inferbench": __version__,
        "hardware": {
            "cpu": gate.hardware.cpu,
            "gpus": list(gate.hardware.gpus),
            "facts": dict(gate.hardware.facts),
        },
        "environments": [
            {
                "name": environment.name,
                "python": environment.python,
                "host": environment.host,
                "unreachable": environment.unreachable,
                "hardware": [environment.cpu, *environment.gpus],
                "distributions": dict(environment.distributions),
            }
            for environment in gate.environments.values()
        ],
        "cells": [cell.as_fields() for cell in gate.cells],
    }
