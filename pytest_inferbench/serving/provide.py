"""What a cell's adapter is told of its server: takes the gate and a cell, gives further options.

The server's programs are made here, on the controller's host, where the cell's worker runs too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell

_NOT_IN_NAMES = re.compile(r"[^\w.\-]")


def server_options(gate: Gate, cell: Cell, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's name, and where a server is that can be started for it.

    Args:
        gate: What knows the cache and the environments.
        cell: The cell.
        options: What its adapter is told already.

    Raises:
        InferbenchError: No server can be had there: IB-805, IB-810 to IB-813.
    """
    named = {"model": model_name(cell.model)}
    if options.get("url"):
        return named
    facts = gate.environments[cell.environment]
    if facts.host is not None:
        raise InferbenchError(
            "IB-813",
            f"environment {cell.environment} is on {facts.host}, and no Triton server is started"
            " there",
            "Start one on that host, and name it with --inferbench-triton-url or the option url.",
        )
    return {**named, "installation": installed_for(gate, options)}


def installed_for(gate: Gate, options: Mapping[str, Any]) -> dict[str, str]:
    """Return where a server is that serves what an adapter's options say, made on first use.

    Raises:
        InferbenchError: As `installation_for`.
    """
    from pytest_inferbench.serving.install import installation_for
    from pytest_inferbench.serving.variant import KEYS, Variant

    variant = Variant.from_fields({k: v for k, v in options.items() if k in KEYS})
    key = f"{variant.runtime} {variant.device} {variant.accelerator}"
    if key not in gate.installations:
        versions = gate.environments["default"].distributions  # as what it is compared with has
        found = installation_for(variant, gate.cache, gate.say, versions)
        gate.installations[key] = found.as_fields()
    return gate.installations[key]


def model_name(name: str) -> str:
    """Return what a model of the settings is called in a server and its folders."""
    return _NOT_IN_NAMES.sub("_", name)
