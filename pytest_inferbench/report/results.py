"""The machine-readable results: takes the gate, writes one JSON file, atomically."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench import __version__

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

SCHEMA = 1


def write_results(gate: Gate) -> None:
    """Write `--inferbench-json`.

    Raises:
        OSError: The file could not be written; an earlier one is left as it was.
    """
    path = gate.options.json_path
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(results(gate), indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def results(gate: Gate) -> dict[str, Any]:
    """Return everything that was measured and judged, as plain types."""
    from pytest_inferbench.report import study
    from pytest_inferbench.report.coverage import plain as plain_coverage

    by_cell: dict[str, list[dict[str, Any]]] = {}
    for entry in gate.ledger.ours:
        payload = {key: value for key, value in entry.payload.items() if key != "cell"}
        by_cell.setdefault(entry.cell or "", []).append(
            {
                "test": entry.nodeid,
                "outcome": entry.outcome,
                "reason": entry.reason,
                "duration_s": round(entry.duration_s, 3),
                **payload,
            }
        )
    plain: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "inferbench": __version__,
            "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": {
                "python": platform.python_version(),
                "cpu": gate.hardware.cpu,
                "gpus": list(gate.hardware.gpus),
                **gate.hardware.facts,
            },
            "environments": {
                name: dict(facts.distributions) for name, facts in gate.environments.items()
            },
            "cells": [
                {
                    **cell.as_fields(),
                    "tests": by_cell.get(cell.id, []),
                }
                for cell in gate.cells
                if cell.id in by_cell
            ],
            "serving": [study.plain(each) for each in study.of_gate(gate)],
            "onnx_ops": [plain_coverage(each) for each in gate.coverage()],
            "notices": list(gate.notices),
        }
    )
    return plain


def finite(value: Any) -> Any:
    """Make a value fit for JSON: NaN and infinity become text, never a silent null."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value
