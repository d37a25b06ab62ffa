"""What is recorded of ONNX's cases: `baselines/<hardware>/onnx-ops.json`, by runtime version.

Takes outcomes by case, gives what an earlier version had. One name a line and sorted, so that a
diff shows which cases moved. The file and its rules of distrust are those of the other baselines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from pytest_inferbench.baselines.store import decode, distrust, read_file, replace_file
from pytest_inferbench.onnx_cases import MODEL
from pytest_inferbench.onnx_cases.outcomes import Earlier, Kind

SCHEMA = 1
MAX_VERSIONS = 8
"""Versions kept of a runtime; recording one more drops the oldest."""

Names = tuple[Annotated[str, Meta(min_length=1)], ...]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How every case ended with one version of a runtime.

    Attributes:
        onnx: The version of the `onnx` package whose cases these are.
        recorded: When, as ISO 8601 in UTC.
        reason: Why, as the user gave it.
    """

    onnx: str
    recorded: str
    reason: str = ""
    passed: Names = ()
    failed: Names = ()
    unsupported: Names = ()
    crashed: Names = ()
    timed_out: Names = msgspec.field(name="timed out", default=())

    def outcomes(self) -> dict[str, Kind]:
        """Return how each case ended, by its name."""
        return {name: kind for kind in Kind for name in getattr(self, _field(kind))}

    def counts(self) -> dict[Kind, int]:
        """Return how many cases ended how."""
        return {kind: len(getattr(self, _field(kind))) for kind in Kind}


class CaseBaseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cases on one hardware: cell ("ort-cpu fp32") -> runtime and version -> record."""

    schema: int = SCHEMA
    hardware: str
    model: str = MODEL
    cells: dict[str, dict[str, Record]] = {}


def path_of(folder: Path, hardware: str) -> Path:
    """Return where the record of a hardware is, or would be."""
    return folder / hardware / f"{MODEL}.json"


def read(folder: Path, hardware: str) -> CaseBaseline:
    """Return what is recorded on a hardware; nothing if there is no file.

    Raises:
        InferbenchError: The file cannot be trusted (IB-711), or is of a newer schema (IB-712).
    """
    path = path_of(folder, hardware)
    text = read_file(path)
    return CaseBaseline(hardware=hardware) if text is None else parse(path, text, hardware)


def parse(path: Path, text: bytes, hardware: str) -> CaseBaseline:
    """Return what the file of a hardware holds, checked.

    Raises:
        InferbenchError: The file cannot be trusted (IB-711), or is of a newer schema (IB-712).
    """
    file = decode(path, text, CaseBaseline, SCHEMA)
    if (file.hardware, file.model) != (hardware, MODEL):
        raise distrust(path, f'it is of "{file.model}" on {file.hardware}, by what it says')
    for cell, versions in file.cells.items():
        for version, record in versions.items():
            if len(record.outcomes()) != sum(record.counts().values()):
                raise distrust(path, f"a case of {cell}, {version} ended in two ways")
    return file


def write(folder: Path, file: CaseBaseline) -> Path:
    """Replace the file, atomically; return its path.

    Raises:
        InferbenchError: It cannot be written (IB-713); the old one is untouched.
    """
    path = path_of(folder, file.hardware)
    plain = msgspec.to_builtins(file)
    replace_file(path, (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def compared_with(versions: Mapping[str, Record], running: str) -> str | None:
    """Return the recorded version that a running one is compared with.

    That is the newest which is not newer; the oldest, where all are newer; None without any.
    """
    ordered = sorted(versions, key=_order)
    earlier = [version for version in ordered if _order(version) <= _order(running)]
    return earlier[-1] if earlier else ordered[0] if ordered else None


def earlier_of(versions: Mapping[str, Record], running: str) -> dict[str, Earlier]:
    """Return what is recorded for each case, by name, in the version that is compared with."""
    version = compared_with(versions, running)
    if version is None:
        return {}
    found = versions[version].outcomes()
    return {name: Earlier(kind, version) for name, kind in found.items()}


def merged(
    file: CaseBaseline, cell: str, version: str, record: Record, *, replace: bool = False
) -> CaseBaseline:
    """Return the file with a session's outcomes in it.

    Cases of this version that the session did not run keep what is recorded, unless that was with
    another version of `onnx`, or `replace` says to forget all that this cell has.
    """
    versions = {} if replace else dict(file.cells.get(cell, {}))
    before = versions.get(version)
    outcomes = record.outcomes()
    if before is not None and before.onnx == record.onnx:
        outcomes = {**before.outcomes(), **outcomes}
    by_kind = {
        _field(kind): tuple(sorted(name for name, ended in outcomes.items() if ended is kind))
        for kind in Kind
    }
    versions[version] = msgspec.structs.replace(record, **by_kind)
    kept = sorted(versions, key=_order)[-MAX_VERSIONS:]
    if version not in kept:
        kept = [version, *kept[1:]]
    cells = {**file.cells, cell: {each: versions[each] for each in kept}}
    return msgspec.structs.replace(file, cells=dict(sorted(cells.items())))


def record_of(
    outcomes: Mapping[str, Kind], *, onnx: str, recorded: str, reason: str = ""
) -> Record:
    """Return the record of a session's outcomes."""
    by_kind = {
        _field(kind): tuple(sorted(name for name, ended in outcomes.items() if ended is kind))
        for kind in Kind
    }
    return msgspec.structs.replace(Record(onnx=onnx, recorded=recorded, reason=reason), **by_kind)


def _field(kind: Kind) -> str:
    return kind.value.replace(" ", "_")


def _order(version: str) -> tuple[tuple[int, ...], str]:
    """Order versions by their numbers, and those of equal numbers by their text."""
    return tuple(int(number) for number in re.findall(r"\d+", version)), version
