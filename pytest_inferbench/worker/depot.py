"""The cache of the host that a worker runs on: takes chunks or recipes, gives verified folders.

Files arrive in chunks under the lock of their entry, are hashed as they arrive, and appear whole,
by one rename, or not at all. Runs in the worker; knows neither frames nor where files come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pytest_inferbench.artifacts.cache import (
    ArtifactCache,
    CachedArtifact,
    Unfinished,
    default_root,
)
from pytest_inferbench.errors import InferbenchError

Fields = dict[str, Any]


class Depot:
    """One worker's hands on its host's cache; one entry is received at a time."""

    def __init__(self, root: Path | None = None) -> None:
        self._cache = ArtifactCache(root or default_root())
        self._receiving: Unfinished | None = None
        self._file: BinaryIO | None = None
        self._hashes: dict[str, Any] = {}

    def find(self, key: str) -> Fields:
        """Return the entry of a key; an empty folder where there is none."""
        found = self._cache.find(key)
        return _fields(found) if found else {"folder": ""}

    def begin(self, key: str, describe: Mapping[str, object]) -> Fields:
        """Start to receive an entry; tell if it is there already, or if another receives it."""
        self.abandon()
        self._cache.sweep()
        begun = self._cache.begin(key, describe)
        if isinstance(begun, CachedArtifact):
            return {"state": "kept", **_fields(begun)}
        self._receiving = begun
        return {"state": "ready" if begun else "busy"}

    def write(self, name: str, offset: int, data: memoryview) -> Fields:
        """Add a chunk to a file; chunks come in order, a file at a time.

        Raises:
            InferbenchError: IB-392 nothing is being received, or it is not the next chunk;
                IB-420, IB-421 it cannot be written.
        """
        if self._receiving is None:
            raise InferbenchError("IB-392", f"no entry was begun that {name!r} could belong to")
        path = self._receiving.folder / _inside(name)
        with self._cache.explained({"file": name}):
            if offset == 0 and name not in self._hashes:
                self._close_file()
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("wb", buffering=0)
                self._hashes[name] = hashlib.sha256()
            if self._file is None or self._file.name != str(path) or self._file.tell() != offset:
                raise InferbenchError("IB-392", f"a chunk of {name!r} at {offset} is out of turn")
            rest = data
            while rest:
                rest = rest[self._file.write(rest) :]
        self._hashes[name].update(data)
        return {}

    def finish(self, files: Mapping[str, str]) -> Fields:
        """Keep what was received, if it is what it should be.

        Args:
            files: The SHA-256 of each file.

        Raises:
            InferbenchError: IB-391 it is something else; nothing is kept then.
        """
        receiving = self._receiving
        if receiving is None:
            raise InferbenchError("IB-392", "no entry was begun that could be finished")
        try:
            self._close_file()
            arrived = {name: digest.hexdigest() for name, digest in self._hashes.items()}
            wrong = sorted(name for name in files if arrived.get(name) != files[name])
            if wrong or len(arrived) != len(files):
                raise InferbenchError(
                    "IB-391",
                    f"{', '.join(wrong) or 'what was sent'} arrived with other contents",
                    "Something writes to the file while it is sent; run again when it is done.",
                )
            return _fields(receiving.finish({}))
        finally:
            self.abandon()

    def build(
        self,
        key: str,
        describe: Mapping[str, object],
        build: Callable[[Path], Fields],
        *,
        anew: bool,
    ) -> Fields:
        """Return the entry of a key, built here on first use; waits while another builds it."""
        if anew:
            self._cache.remove([key])
        return _fields(self._cache.get_or_build(key, describe, build))

    def abandon(self) -> None:
        """Drop what was begun and not finished."""
        self._close_file()
        self._hashes.clear()
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.close()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.name == "meta.json":
        raise InferbenchError("IB-392", f"{name!r} is no name of a file inside an entry")
    return path


def _fields(entry: CachedArtifact) -> Fields:
    return {
        "folder": str(entry.folder),
        "files": {name: file["sha256"] for name, file in entry.meta["files"].items()},
        "facts": entry.meta["facts"],
        "built": entry.built,
        "rebuilt_because": entry.rebuilt_because,
    }
