"""Keeps what was built: takes a key and a builder, gives a verified folder; knows not its contents.

An entry is `<root>/<key[:2]>/<key>/`, with the size and SHA-256 of every file in its `meta.json`.
It appears by one rename, built once however many processes ask, and whatever of it is not exactly
as written is built anew. Standard library only: the worker of another host is shipped this file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.lockfile import open_lock, try_lock

_META = "meta.json"
_POLL_S = 0.02
_TELL_S = 1.0
_CHUNK_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Files whose contents this process has hashed, with what would show that they changed since.
_verified: dict[Path, tuple[str, tuple[int, int, int]]] = {}


@dataclass(frozen=True)
class CachedArtifact:
    """A verified entry.

    Attributes:
        folder: Where it is.
        files: What was built, `meta.json` apart.
        meta: ``key``, ``describe``, ``facts`` (what the builder told), ``files``, ``built_at``.
        built: Whether it was built just now.
        rebuilt_because: What was wrong with the entry that it replaces; empty if there was none.
    """

    folder: Path
    files: tuple[Path, ...]
    meta: dict[str, Any]
    built: bool = False
    rebuilt_because: str = ""


@dataclass(frozen=True)
class CacheEntry:
    """What a listing shows; `built_at` is in seconds since the epoch, 0 where nothing tells."""

    key: str
    size_bytes: int
    built_at: float
    describe: dict[str, Any]


class ArtifactCache:
    """The store of one host."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get_or_build(
        self,
        key: str,
        describe: Mapping[str, object],
        build: Callable[[Path], Mapping[str, object]],
        on_wait: Callable[[float], object] | None = None,
    ) -> CachedArtifact:
        """Return the entry of a key, built on first use.

        Args:
            key: Names the content; hexadecimal.
            describe: For listings; plain JSON types.
            build: Fills a given empty folder and returns facts for `meta.json`.
            on_wait: Called about every second, with the seconds so far, while another process
                builds this very entry.

        Raises:
            InferbenchError: IB-420 the disk is full; IB-421 the folder cannot be written to;
                IB-422 the builder left nothing; or what the builder raised. Nothing half is left.
        """
        started, told = time.monotonic(), 1
        while (begun := self.begin(key, describe)) is None:
            time.sleep(_POLL_S)
            waited_s = time.monotonic() - started
            if on_wait and waited_s >= told * _TELL_S:
                told += 1
                on_wait(waited_s)
        if isinstance(begun, CachedArtifact):
            return begun
        with begun, self.explained(describe):
            return begun.finish(build(begun.folder))

    def find(self, key: str) -> CachedArtifact | None:
        """Return the entry of a key, if it is there and as it was written."""
        found = _verify(self._folder(key), key)
        return found if isinstance(found, CachedArtifact) else None

    def begin(self, key: str, describe: Mapping[str, object]) -> CachedArtifact | Unfinished | None:
        """Return the entry of a key, or an unfinished one for the caller to fill.

        None means that another process is building it: ask again.

        Raises:
            InferbenchError: As `get_or_build`.
        """
        folder = self._folder(key)
        found = _verify(folder, key)
        if isinstance(found, CachedArtifact):
            return found
        with self.explained(describe):
            lock_fd = open_lock(Path(f"{folder}.lock"))
            unfinished = None
            try:
                if not try_lock(lock_fd):
                    return None
                found = _verify(folder, key)
                if isinstance(found, str):
                    unfinished = Unfinished(self, folder, dict(describe), lock_fd, found)
                    return unfinished
                return found
            finally:
                if unfinished is None:
                    os.close(lock_fd)

    def entries(self) -> list[CacheEntry]:
        """List what there is, oldest first; damaged entries and unfinished builds too."""
        folders = (path for path in self.root.glob("??/*") if path.is_dir())
        keys = {path.name.lstrip(".").partition(".")[0] for path in folders}
        found = (_entry(self._folder(key)) for key in keys if _is_key(key))
        return sorted(found, key=lambda entry: (entry.built_at, entry.key))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove entries, and what interrupted builds left of them.

        Raises:
            InferbenchError: IB-421 the folder cannot be written to.
        """
        for key in keys:
            folder = self._folder(key)
            if folder.parent.is_dir():
                with self.explained({}), _locked(folder):
                    _clear(folder)

    def sweep(self) -> None:
        """Remove what interrupted builds left, unless somebody builds that entry just now."""
        left = {path.name.split(".")[1] for path in self.root.glob("??/.*.*") if path.is_dir()}
        for folder in (self._folder(key) for key in left if _is_key(key)):
            with self.explained({}):
                fd = open_lock(Path(f"{folder}.lock"))
                try:
                    for path in _parts(folder)[:-1] if try_lock(fd) else ():
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(fd)

    def total_bytes(self) -> int:
        """The size of everything below the root, interrupted builds included."""
        return _size_bytes(self.root)

    def _folder(self, key: str) -> Path:
        if not _is_key(key):
            raise ValueError(f"{key!r} is not a hexadecimal key")
        return self.root / key[:2] / key

    @contextmanager
    def explained(self, describe: Mapping[str, object]) -> Iterator[None]:
        """Turn what the file system refuses into an error that says what to do."""
        what = ", ".join(f"{name} {value}" for name, value in describe.items()) or "an entry"
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise _disk_full(self.root, what) from error
            place = Path(str(error.filename))
            if not (place.is_relative_to(self.root) or self.root.is_relative_to(place)):
                raise
            raise InferbenchError(
                "IB-421",
                f"the artifact cache {self.root} cannot be written to: {error}",
                "Set INFERBENCH_CACHE, or `cache` in the settings, to a folder of yours.",
            ) from error


def doubt() -> None:
    """Have every file hashed again when it is next asked for, whatever this process saw of it."""
    _verified.clear()


def default_root(env: Mapping[str, str] = os.environ) -> Path:
    """Return the user's cache folder."""
    if env.get("INFERBENCH_CACHE"):
        return Path(env["INFERBENCH_CACHE"]).expanduser().absolute()
    base = Path(env.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "inferbench"


def _disk_full(folder: Path, what: str) -> InferbenchError:
    """Return the error for a build that ran out of space."""
    free_mib = shutil.disk_usage(folder if folder.exists() else folder.parent).free / 2**20
    return InferbenchError(
        "IB-420",
        f"the disk is full: {what} did not fit into {folder} ({free_mib:.0f} MiB free)",
        "Make room (`inferbench cache --clear`), or set INFERBENCH_CACHE to another disk.",
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    fd = open_lock(Path(f"{folder}.lock"))
    try:
        while not try_lock(fd):
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


class Unfinished:
    """An entry being built: a folder to fill, under the entry's lock, until it is closed.

    Attributes:
        folder: Empty at first; fill it.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        target: Path,
        describe: dict[str, object],
        lock_fd: int,
        rebuilt_because: str,
    ) -> None:
        self._cache, self._target, self._describe = cache, target, describe
        self._lock_fd, self._rebuilt_because = lock_fd, rebuilt_because
        _clear(target)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))

    def finish(self, facts: Mapping[str, object]) -> CachedArtifact:
        """Make it durable and rename it into place.

        Raises:
            InferbenchError: IB-422 it is empty; IB-420, IB-421 it could not be written.
        """
        with self._cache.explained(self._describe):
            meta = _sealed_folder(self.folder, self._target.name, self._describe, facts)
            self.folder.rename(self._target)
            _sync(self._target.parent)
        files = _files(self._target, meta)
        return CachedArtifact(self._target, files, meta, True, self._rebuilt_because)

    def close(self) -> None:
        """Give up the lock, and whatever was not finished; a second time does nothing."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(fd)

    def __enter__(self) -> Unfinished:
        """Give itself, to be closed at the end of a `with`."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close it."""
        self.close()


def _sealed_folder(
    folder: Path, key: str, describe: Mapping[str, object], facts: Mapping[str, object]
) -> dict[str, Any]:
    """Write a filled folder's `meta.json`, and have all of it on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InferbenchError("IB-422", f"building {dict(describe)} left no file")
    meta: dict[str, Any] = {
        "key": key,
        "describe": dict(describe),
        "facts": dict(facts),
        "files": {
            path.relative_to(folder).as_posix(): {
                "size_bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in files
        },
        "built_at": time.time(),
    }
    meta = json.loads(json.dumps(meta))  # as the next process will read it
    (folder / _META).write_text(_sealed(meta), encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    folder.chmod(0o755)  # mkdtemp's 0700 would shut out others who share the cache
    return meta


def sha256_of(path: Path) -> str:
    """Hash a file without ever holding it whole."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _verify(folder: Path, key: str) -> CachedArtifact | str:
    """Return the entry, or what is wrong with it: empty if there is none."""
    if not folder.is_dir():
        return ""
    try:
        text = (folder / _META).read_text(encoding="utf-8")
        meta = json.loads(text)
        del meta["sha256"]
        if text != _sealed(meta) or meta["key"] != key:
            return f"{_META} was altered"
        for name, expected in meta["files"].items():
            fault = _file_fault(folder / name, expected)
            if fault:
                return f"{name} {fault}"
    except FileNotFoundError:
        return f"{_META} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{_META} cannot be read ({error})"
    return CachedArtifact(folder, _files(folder, meta), meta)


def _file_fault(path: Path, expected: Mapping[str, Any]) -> str:
    try:
        stat = path.stat()
        if stat.st_size != expected["size_bytes"]:
            return f"has {stat.st_size} bytes instead of {expected['size_bytes']}"
        seen = (expected["sha256"], (stat.st_size, stat.st_mtime_ns, stat.st_ino))
        if _verified.get(path) != seen:
            if sha256_of(path) != expected["sha256"]:
                return "has other contents than were written"
            _verified[path] = seen
    except FileNotFoundError:
        return "is missing"
    return ""


def _files(folder: Path, meta: Mapping[str, Any]) -> tuple[Path, ...]:
    return tuple(folder / name for name in meta["files"])


def _sealed(meta: Mapping[str, Any]) -> str:
    """Return the text of `meta.json`: with a hash of itself, so that no change goes unseen."""
    digest = hashlib.sha256(json.dumps(meta).encode()).hexdigest()
    return json.dumps({**meta, "sha256": digest}, indent=1)


def _clear(folder: Path) -> None:
    """Remove an entry and what interrupted builds left; the lock is held, so nobody builds it."""
    for path in _parts(folder):
        if path.exists():
            shutil.rmtree(path)


def _parts(folder: Path) -> tuple[Path, ...]:
    """Return an entry's folder and those of unfinished builds beside it."""
    return (*folder.parent.glob(f".{folder.name}.*"), folder)


def _is_key(text: str) -> bool:
    return len(text) >= 8 and set(text) <= set("0123456789abcdef")


def _entry(folder: Path) -> CacheEntry:
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        built_at, describe = float(meta["built_at"]), dict(meta["describe"])
    except (OSError, ValueError, KeyError, TypeError):
        built_at, describe = 0.0, {"state": "unfinished or damaged"}
    return CacheEntry(folder.name, sum(map(_size_bytes, _parts(folder))), built_at, describe)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
