"""Reads and writes baseline files: takes a folder, gives checked sessions; knows no budgets.

A file that cannot be trusted is an error and stays as it is. Writing is atomic: whatever happens,
the old file or the new one is there, whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pytest_inferbench.baselines.schema import SCHEMA, Addition, BaselineFile, merge
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.replacing import replacing

_File = TypeVar("_File")


class BaselineStore:
    """The baselines of a project: `<folder>/<hardware>/<model>.json`.

    Attributes:
        pending: What is to be recorded, by hardware and model, until `flush`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pending: dict[tuple[str, str], list[Addition]] = {}

    def path(self, hardware: str, model: str) -> Path:
        """Return where a model's baseline on a hardware is, or would be."""
        return self.folder / hardware / f"{model}.json"

    def read(self, hardware: str, model: str) -> BaselineFile | None:
        """Return what is recorded, None if nothing is.

        Raises:
            InferbenchError: The file is unreadable or not what it should be (IB-711), or of a
                newer schema (IB-712).
        """
        path = self.path(hardware, model)
        text = read_file(path)
        return None if text is None else parse(path, text, hardware, model)

    def add(self, hardware: str, model: str, addition: Addition) -> None:
        """Queue a session; nothing is written before `flush`."""
        self.pending.setdefault((hardware, model), []).append(addition)

    def flush(self) -> list[Path]:
        """Write what is pending, once a file; return the files.

        Raises:
            InferbenchError: Some files could not be written; these stay pending, the others are
                written.
        """
        written = []
        failures: list[InferbenchError] = []
        for hardware, model in sorted(self.pending):
            try:
                existing = self.read(hardware, model) or BaselineFile(
                    hardware=hardware, model=model
                )
                written.append(self.write(merge(existing, self.pending[hardware, model])))
            except InferbenchError as error:
                failures.append(error)
            else:
                del self.pending[hardware, model]
        if failures:
            first = failures[0]
            message = "\n".join(failure.message for failure in failures)
            raise InferbenchError(first.code, message, first.hint) from first
        return written

    def write(self, file: BaselineFile) -> Path:
        """Replace a file, atomically; return its path.

        Raises:
            InferbenchError: It cannot be written (IB-713), or holds what could not be read again,
                such as NaN (IB-714). The old file is untouched.
        """
        path = self.path(file.hardware, file.model)
        try:
            text = encode(file)
            msgspec.json.decode(text, type=BaselineFile)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InferbenchError(
                "IB-714", f"{path} was not written, for it could not be read again: {error}"
            ) from error
        replace_file(path, text)
        return path


def parse(path: Path, text: bytes, hardware: str, model: str) -> BaselineFile:
    """Return what the file of a model on a hardware holds, checked.

    Raises:
        InferbenchError: It is not what it should be (IB-711), or of a newer schema (IB-712).
    """
    file = decode(path, text, BaselineFile, SCHEMA)
    if (file.hardware, file.model) != (hardware, model):
        raise distrust(
            path, f'it is the baseline of "{file.model}" on {file.hardware}, by what it says'
        )
    return file


def read_file(path: Path) -> bytes | None:
    """Return a baseline file's text, None if there is none.

    Raises:
        InferbenchError: It cannot be read (IB-711).
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InferbenchError("IB-711", f"{path} cannot be read: {error}") from error


def replace_file(path: Path, text: bytes) -> None:
    """Write a baseline file atomically: whatever happens, the old one or the new one is there.

    Raises:
        InferbenchError: It cannot be written (IB-713).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            with temporary.open("wb") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
    except OSError as error:
        raise InferbenchError(
            "IB-713",
            f"{path} could not be written: {error}",
            "What was recorded before is untouched. Free space or fix permissions, then run"
            " with --update-baselines again.",
        ) from error


def remove_file(path: Path) -> None:
    """Remove a baseline file of which nothing is left, and its folder when that is empty.

    Raises:
        InferbenchError: It cannot be removed (IB-713).
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InferbenchError("IB-713", f"{path} could not be removed: {error}") from error
    with contextlib.suppress(OSError):  # others' baselines are in it
        path.parent.rmdir()


def encode(file: BaselineFile) -> bytes:
    """Return a file's text: a line for each list of numbers, so that a diff can be read."""
    # Through msgspec's own JSON, which turns NaN into null: that is how `write` finds it.
    plain = json.loads(msgspec.json.encode(file))
    return (_pretty(plain) + "\n").encode()


def _pretty(value: Any, indent: str = "") -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(k)}: {_pretty(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        lines = [f"{inner}{_pretty(item, inner)}" for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def decode(path: Path, text: bytes, kind: type[_File], schema: int) -> _File:
    """Return what a baseline file holds, checked; of a kind whose newest schema is given.

    Raises:
        InferbenchError: It is not what it should be (IB-711), or of a newer schema (IB-712).
    """
    try:
        plain = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        found = plain.get("schema") if isinstance(plain, dict) else None
        if isinstance(found, int) and found > schema:
            raise InferbenchError(
                "IB-712",
                f"{path} is of schema {found}; this version of pytest-inferbench reads {schema}",
                "Upgrade pytest-inferbench.",
            )
        if found != schema:
            raise distrust(path, f'"schema" is {found!r:.40}, it should be {schema}')
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if b"<<<<<<<" not in text:
            raise distrust(path, str(error)) from error
        why = f"it has a merge conflict in it: {error}"
        raise distrust(path, why, "`inferbench baselines merge` keeps both sides.") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" is there twice (merged by hand?)')
    return found


_RESTORE = "Restore it from git, or delete it and record anew with --update-baselines."


def distrust(path: Path, why: str, hint: str = _RESTORE) -> InferbenchError:
    """Return the error for a file that says what it cannot mean."""
    return InferbenchError("IB-711", f"{path} is not a baseline that can be trusted: {why}", hint)
