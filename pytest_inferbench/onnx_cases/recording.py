"""A session's cases beside the records: takes the ledger, writes each hardware's file once.

Only the process that saw every report does this; what is recorded came with the reports.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_inferbench.onnx_cases import baseline
from pytest_inferbench.onnx_cases.outcomes import Kind

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.report.coverage import Coverage

_NAMED = 10


def record(gate: Gate) -> list[str]:
    """Write how the session's cases ended; return a line for every cell and file.

    Raises:
        InferbenchError: A file could not be read or written; what it held is untouched.
    """
    cases = _cases(gate)
    if not cases:
        return []
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    replace = gate.options.update == "replace"
    files: dict[str, baseline.CaseBaseline] = {}
    lines = []
    for cell in gate.onnx_cells:
        ended = cases.get(cell.id)
        if not ended:
            continue
        version, onnx = ended[0]["version"], ended[0]["onnx"]
        outcomes = {case["name"]: Kind(case["outcome"]) for case in ended}
        folder = gate.settings.baselines
        file = files.get(cell.hardware) or baseline.read(folder, cell.hardware)
        new = baseline.record_of(outcomes, onnx=onnx, recorded=now, reason=gate.options.reason)
        files[cell.hardware] = merged = baseline.merged(
            file, cell.baseline_key, version, new, replace=replace
        )
        counts = merged.cells[cell.baseline_key][version].counts()
        shown = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
        lines.append(f"recorded {cell.id} with {version}: {shown}")
        lines += _worse(ended)
    folder = gate.settings.baselines
    return lines + [f"wrote {baseline.write(folder, file)}" for file in files.values()]


def _cases(gate: Gate) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in gate.ledger.ours:
        case = entry.payload.get("onnx_case")
        if case is not None and entry.outcome != "failed":
            found.setdefault(str(entry.cell), []).append(case)
    return found


def _worse(cases: list[dict[str, Any]]) -> list[str]:
    """Name the cases that passed in the version compared with: they are accepted by this record."""
    return [
        f"  {case['name']} passed with {case['earlier_version']} and is now {case['outcome']}:"
        f" {case['detail']}"
        for case in cases
        if case["earlier"] == Kind.PASSED.value and case["outcome"] != Kind.PASSED.value
    ]


def differences(gate: Gate, covered: Coverage) -> list[str]:
    """Tell which cases the recorded version of `onnx` had and this one has not, and the reverse."""
    cell = next(cell for cell in gate.onnx_cells if cell.id == covered.cell)
    versions = baseline.read(gate.settings.baselines, cell.hardware).cells.get(
        cell.baseline_key, {}
    )
    version = baseline.compared_with(versions, covered.version)
    if version is None or versions[version].onnx == covered.onnx:
        return []
    recorded, now = set(versions[version].outcomes()), set(gate.onnx_index.cases)
    head = f"  against {version}, recorded with onnx {versions[version].onnx}"
    return [
        f"{head}: {len(names)} cases {what}: {', '.join(sorted(names)[:_NAMED])}"
        + (" ..." if len(names) > _NAMED else "")
        for what, names in (("are new", now - recorded), ("are gone", recorded - now))
        if names
    ]
