"""Makes the results document: takes the gate at the end of a session, gives `Results`.

Everything that a session measured and judged is in it, whatever the verdict; nothing is computed
here that a table or a verdict was not made from.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import platform
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench import __version__
from pytest_inferbench.report import study
from pytest_inferbench.report.coverage import plain as plain_coverage
from pytest_inferbench.report.document import (
    CellResult,
    EnvironmentResult,
    RequirementResult,
    Results,
    SessionResult,
    TestResult,
)
from pytest_inferbench.report.parts import (
    ComparisonResult,
    CoverageResult,
    RecordedSession,
    RunResult,
    StudyResult,
)
from pytest_inferbench.report.table import rows
from pytest_inferbench.requirements import unmet

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.ledger import Entry
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.report.table import Row

CANNOT_RUN = "cannot run"

_OF_THE_CELL = ("runs", "recorded", "comparisons", "artifact", "ran")
"""What tests of one cell tell alike, because they share it: it stands once, with the cell."""

_OPTIONS = (
    *("update", "reason", "against", "against_model", "triton_url", "bisect", "in_process"),
)
"""What of the command line bears on figures, wherever it was given: in settings of pytest too."""

_OF_A_TEST = frozenset(field.name for field in msgspec.structs.fields(TestResult))
_SECRET = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def results(gate: Gate, problems: Sequence[str] = ()) -> Results:
    """Return everything that was measured and judged.

    Args:
        gate: The gate of the process that saw every report.
        problems: What failed the session beyond its tests.
    """
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Results(
        inferbench=__version__,
        recorded=ended,
        sessions=(_session(gate, ended, problems),),
        cells=tuple(_cells(gate)),
        serving=tuple(_converted(study.plain(each), StudyResult) for each in study.of_gate(gate)),
        onnx_ops=tuple(
            _converted(plain_coverage(each), CoverageResult) for each in gate.coverage()
        ),
        notices=tuple(gate.notices),
    )


def _session(gate: Gate, ended: str, problems: Sequence[str]) -> SessionResult:
    from pytest_inferbench.report.project import git_state

    source = gate.settings.source
    options = gate.options
    return SessionResult(
        id=uuid.uuid4().hex,
        recorded=ended,
        inferbench=__version__,
        command=tuple(_SECRET.sub("***", each) for each in options.command),
        git=git_state(source.parent if source else Path.cwd()),
        host={
            "python": platform.python_version(),
            "cpu": gate.hardware.cpu,
            "gpus": list(gate.hardware.gpus),
            **gate.hardware.facts,
        },
        environments={
            name: EnvironmentResult(
                distributions=dict(facts.distributions),
                python=facts.python,
                host=facts.host,
                cpu=facts.cpu,
                gpus=facts.gpus,
                facts={key: str(value) for key, value in facts.facts.items()},
                unreachable=facts.unreachable,
            )
            for name, facts in gate.environments.items()
        },
        settings={
            **({"file": source.name} if source else {}),
            **_told("latency", gate.settings.latency),
            **_told("serving", gate.settings.serving),
        },
        options={
            name: _SECRET.sub("***", str(value))
            for name in _OPTIONS
            if (value := getattr(options, name))
        },
        comparisons=gate.comparisons,
        requirements=tuple(
            RequirementResult(expression=text, unmet=unmet(text, gate.cells, gate.ledger) or "")
            for text in options.require
        ),
        problems=tuple(problems),
    )


def _told(table: str, settings: msgspec.Struct) -> dict[str, str]:
    """Return the plain values of a table of the settings, by the keys that a file has for them."""
    names = zip(settings.__struct_encode_fields__, settings.__struct_fields__, strict=True)
    return {
        f"{table}.{key}": str(value)
        for key, name in names
        if isinstance(value := getattr(settings, name), (str, int, float, tuple))
    }


def _cells(gate: Gate) -> Iterator[CellResult]:
    by_cell = gate.ledger.by_cell()
    table = {row.cell.id: row for row in rows(gate.cells, gate.ledger)}
    unable = [cell for cell in gate.onnx_cells if cell.cannot_run] if by_cell else []
    for cell in (*gate.cells, *unable):
        if cell.id in by_cell:
            yield _cell(cell, by_cell[cell.id], table.get(cell.id))


def _cell(cell: Cell, entries: Sequence[Entry], row: Row | None) -> CellResult:
    shared = _shared(entries)
    return CellResult(
        **cell.as_fields(),  # type: ignore[arg-type]  # of the matrix, each of its own type
        device=cell.device,
        markers=tuple(sorted(cell.markers)),
        verdict=row.verdict if row else CANNOT_RUN,
        codes=row.codes if row else (),
        figures={name: float(value) for name, value in row.figures.items()} if row else {},
        speedup=row.speedup if row else None,
        artifact=shared.get("artifact", ""),
        ran=shared.get("ran", {}),
        tests=tuple(_test(entry) for entry in entries),
        runs=_converted(shared.get("runs", ()), tuple[RunResult, ...]),
        recorded=_converted(shared.get("recorded", ()), tuple[RecordedSession, ...]),
        comparisons=_converted(shared.get("comparisons", ()), tuple[ComparisonResult, ...]),
    )


def _shared(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what tests of a cell have in common: of each the fullest, the last one's of equals."""
    found: dict[str, Any] = {}
    for entry in entries:
        for key in _OF_THE_CELL:
            told = entry.payload.get(key)
            if told and len(told) >= len(found.get(key, ())):
                found[key] = told
    return found


def _test(entry: Entry) -> TestResult:
    payload = {k: v for k, v in entry.payload.items() if k not in ("cell", *_OF_THE_CELL)}
    judgements = payload.pop("judgements", ())
    known = {key: value for key, value in payload.items() if key in _OF_A_TEST}
    more = {key: value for key, value in payload.items() if key not in _OF_A_TEST}
    own = {
        "test": entry.nodeid,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "duration_s": round(entry.duration_s, 3),
        # one of ONNX's cases is judged without a figure
        "judgements": [{"value": math.nan, **judged} for judged in judgements],
    }
    try:
        made: TestResult = _converted({**known, **own, "more": more}, TestResult)
    except msgspec.ValidationError:  # a third party's handle calls something else by our name
        made = _converted({**own, "more": {**more, **known}}, TestResult)
    return made


def _converted(plain: Any, into: Any) -> Any:
    return msgspec.convert(_plain(plain), into, strict=False)


def _plain(value: Any) -> Any:
    """Return a value with plain numbers in place of others, such as numpy's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, numbers.Real) and not isinstance(value, int):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return value
