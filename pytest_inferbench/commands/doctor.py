"""`inferbench doctor`: what this machine is, which cells it can run, and how quiet it is.

Prints; the parts are `needs.py` (what each backend still needs), `noise.py` (what can be heard)
and `settings/declare.py` (`--write`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench import __version__
from pytest_inferbench.commands.arguments import (
    BAD_ARGUMENTS,
    Subparsers,
    add_json,
    add_settings,
    add_verb,
)

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.needs import Standing
    from pytest_inferbench.noise import Noise

_NOISE_S = 20.0
_LEAST_S = 5.0


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "doctor",
        "what this machine is, which cells it can run, and how quiet it is",
        [
            "inferbench doctor",
            "inferbench doctor --noise",
            "inferbench doctor --write",
            "inferbench doctor --json",
        ],
        (
            "0  some cell can run, and every environment answers as declared",
            "1  not so, or something asked about is wrong; it is said",
            BAD_ARGUMENTS,
        ),
    )
    parser.add_argument(
        "--noise",
        nargs="?",
        type=_seconds,
        const=_NOISE_S,
        metavar="SECONDS",
        help=f"measure how quiet this machine is, and what it can hear ({_NOISE_S:.0f} s)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write what each environment's machine is into the settings, as its hardware",
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from error
    if not _LEAST_S <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"listen for {_LEAST_S:.0f} seconds at least, not {text}")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.needs import standings

    written: list[str] = []
    if options.write:
        from pytest_inferbench.declaring import declare

        written = declare(Path.cwd(), options.settings)
    gate = Gate.from_folder(Path.cwd(), options.settings)
    standing = standings(gate.environments, gate.catalog)
    heard = _heard(gate, options.noise) if options.noise else None
    if options.json:
        print(json.dumps(_plain(gate, standing, heard, written), indent=1))
    else:
        print("\n".join([*_machine(gate), *_environments(gate, written)]))
        print("\n".join([*_backends(standing), *_cells(gate), *_noise(gate, heard)]))
    return 0 if _is_well(gate) else 1


def _heard(gate: Gate, seconds: float) -> Noise:
    from pytest_inferbench.noise import listen

    _say(f"listening to this machine for {seconds:.0f} s: leave it alone meanwhile")
    return listen(gate.settings, gate.hardware, seconds, _say)


def _is_well(gate: Gate) -> bool:
    return any(cell.cannot_run is None for cell in gate.cells) and not any(
        facts.unreachable or _other_than_declared(facts) for facts in gate.environments.values()
    )


def _other_than_declared(facts: Any) -> bool:
    return facts.hardware is not None and facts.hardware not in (facts.cpu, *facts.gpus)


def _machine(gate: Gate) -> list[str]:
    return [
        f"inferbench {__version__}",
        f"cpu       {gate.hardware.cpu}",
        f"gpus      {', '.join(gate.hardware.gpus) or 'none'}",
        *(f"          {name}: {value}" for name, value in sorted(gate.hardware.facts.items())),
    ]


def _environments(gate: Gate, written: list[str]) -> list[str]:
    lines = [""] if written else []
    lines += [f"written   {line}" for line in written]
    for facts in gate.environments.values():
        where = f" on {facts.host}" if facts.host else ""
        lines += ["", f"environment {facts.name}: {facts.python}{where}"]
        if facts.unreachable:
            lines.append(f"          {facts.unreachable}")
        elif facts.host:
            lines.append(f"          is {', '.join((facts.cpu, *facts.gpus))}")
        if not facts.unreachable and _other_than_declared(facts):
            lines.append(
                f"          is declared to be {facts.hardware}, and is not: `inferbench doctor"
                " --write` corrects it"
            )
        lines += [f"          {each} {v}" for each, v in sorted(facts.distributions.items())]
    return lines


def _backends(standing: list[Standing]) -> list[str]:
    lines = ["", "backends"]
    for each in standing:
        if not each.needs:
            on = f" on {', '.join(each.runs_on)}" if each.runs_on else ""
            home = "" if each.environment == "default" else f" in environment {each.environment}"
            lines.append(f"  is here    {each.backend}{home}{on}")
            continue
        lines.append(f"  needs      {each.backend}: {each.needs[0]}")
        lines += [f"             and {need}" for need in each.needs[1:]]
    return lines


def _cells(gate: Gate) -> list[str]:
    lines = ["", "cells"]
    for cell in gate.cells:
        lines.append(f"  {'can run   ' if not cell.cannot_run else 'cannot run'} {cell}")
        if cell.cannot_run:
            lines.append(f"             {cell.cannot_run}")
    return lines


def _noise(gate: Gate, heard: Noise | None) -> list[str]:
    if heard is None:
        return ["", f"how quiet this machine is: inferbench doctor --noise ({_NOISE_S:.0f} s)"]
    from pytest_inferbench.report.noise import lines

    return ["", *lines(heard, gate.settings.latency)]


def _plain(
    gate: Gate, standing: list[Standing], heard: Noise | None, written: list[str]
) -> dict[str, Any]:
    from pytest_inferbench.report.noise import plain

    return {
        "inferbench": __version__,
        "hardware": {
            "cpu": gate.hardware.cpu,
            "gpus": list(gate.hardware.gpus),
            "facts": dict(gate.hardware.facts),
        },
        "environments": [
            {
                "name": facts.name,
                "python": facts.python,
                "host": facts.host,
                "unreachable": facts.unreachable,
                "hardware": [facts.cpu, *facts.gpus],
                "declared": facts.hardware,
                "distributions": dict(facts.distributions),
            }
            for facts in gate.environments.values()
        ],
        "backends": [
            {
                "name": each.backend,
                "environment": each.environment,
                "runs_on": list(each.runs_on),
                "packages": dict(each.packages),
                "needs": list(each.needs),
            }
            for each in standing
        ],
        "cells": [cell.as_fields() for cell in gate.cells],
        "noise": plain(heard) if heard else None,
        "written": written,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
