"""Another host's cache: takes files or a recipe and a worker there, gives paths on that host.

What it sends is named by its contents, so that it is sent once: whoever asks again, in this session
or a later one, is told where it lies. Knows neither how anything is built nor what is in a file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_inferbench.environments import check_hardware
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.worker.client import AnyWorker, Reply

CHUNK_BYTES = 4 << 20
_POLL_S = 0.2
_REVISION = 1  # raised when entries that were sent would be laid out otherwise

Told = Callable[[float, str], None]


def _silent(_passed_s: float, _how_far: str) -> None:
    pass


class RemoteEntry:
    """A verified folder in the cache of another host.

    Attributes:
        folder: Where it is, on that host.
        sha256: The hash of each file, by its name in the folder.
        built: Whether it was built, or sent, just now.
        rebuilt_because: What was wrong with the one that it replaces; empty if there was none.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.folder = PurePosixPath(fields["folder"])
        self.sha256: Mapping[str, str] = fields["files"]
        self.facts: Mapping[str, Any] = fields["facts"]
        self.built: bool = fields["built"]
        self.rebuilt_because: str = fields["rebuilt_because"]


class RemoteCache:
    """The cache of the host that a worker runs on.

    Attributes:
        sent_bytes: How much was sent through this object.
    """

    def __init__(
        self, worker: AnyWorker, environment: str, wait_s: float, told: Told = _silent
    ) -> None:
        """Take a worker.

        Args:
            worker: On that host; the caller's to close.
            environment: Its name, for messages.
            wait_s: How long another process may take to send or build the same.
            told: Called with the seconds passed and how far it is.
        """
        self.sent_bytes = 0
        self._worker, self._environment = worker, environment
        self._wait_s, self._told = wait_s, told

    def send(
        self, folder: Path, names: Sequence[str], describe: Mapping[str, object]
    ) -> RemoteEntry:
        """Have files there, under the names that they have here.

        Args:
            folder: Where they are here.
            names: Their paths below it; those beside a model go with it.
            describe: For listings; plain JSON types.

        Raises:
            InferbenchError: IB-391 a file changed meanwhile; IB-393 another process kept the entry
                too long; or what the cache there says.
        """
        files = {PurePosixPath(name).as_posix(): _sha256(folder / name) for name in names}
        content = json.dumps({"revision": _REVISION, "files": files}, sort_keys=True)
        key = hashlib.sha256(content.encode()).hexdigest()
        begun = self._begun(key, describe)
        if begun["state"] == "kept":
            return RemoteEntry(begun)
        total_bytes = sum((folder / name).stat().st_size for name in files)
        started, sent_before = time.monotonic(), self.sent_bytes
        for name in files:
            for offset, chunk in _chunks(folder / name):
                self._send_chunk(name, offset, chunk)
                sent_mib = (self.sent_bytes - sent_before) / 2**20
                far = f"{sent_mib:.0f} of {total_bytes / 2**20:.0f} MiB"
                self._told(time.monotonic() - started, far)
        return RemoteEntry(self._call("cache_finish", {"files": files}))

    def find(self, key: str) -> RemoteEntry | None:
        """Return an entry, if it is there and as it was written."""
        found = self._call("cache_find", {"key": key})
        return RemoteEntry(found) if found["folder"] else None

    def build(
        self,
        key: str,
        describe: Mapping[str, object],
        file_name: str,
        build: Mapping[str, object],
        calibration: Mapping[str, Any],
        *,
        anew: bool = False,
        in_place: bool = False,
    ) -> RemoteEntry:
        """Have an entry that is built there, if it is not there already.

        Args:
            key: Names it.
            describe: For listings; plain JSON types.
            file_name: The file to build.
            build: The fields of the worker's verb `build`, its output apart; the model's path is
                one on that host.
            calibration: Arrays for it; `find` first, so that they are not sent in vain.
            anew: Build it once more, beside what is kept, in place of the last that was built so.
            in_place: Build it once more, in place of what is kept.

        Raises:
            InferbenchError: It could not be built.
        """
        if anew:
            key = hashlib.sha256(f"{key} anew".encode()).hexdigest()
        fields = {"key": key, "describe": dict(describe), "file_name": file_name}
        reply = self._worker.call(
            "cache_build",
            {**fields, "build": dict(build), "anew": anew or in_place},
            calibration,
            timeout_s=self._wait_s,
            on_wait=lambda passed_s: self._told(passed_s, ""),
        )
        return RemoteEntry(reply.fields)

    def _begun(self, key: str, describe: Mapping[str, object]) -> dict[str, Any]:
        """Wait until the entry is there, or ours to send."""
        started = time.monotonic()
        while (waited_s := time.monotonic() - started) < self._wait_s:
            begun = self._call("cache_begin", {"key": key, "describe": dict(describe)})
            if begun["state"] != "busy":
                return begun
            self._told(waited_s, "another process is sending it")
            time.sleep(_POLL_S)
        raise InferbenchError(
            "IB-393",
            f"environment {self._environment}: another process has been sending"
            f" {', '.join(map(str, describe.values()))} to that host for {self._wait_s:g} s",
            "Wait for it, or raise worker.build_timeout in the settings.",
        )

    def _send_chunk(self, name: str, offset: int, chunk: bytes) -> None:
        import numpy as np

        data = np.frombuffer(chunk, np.uint8)
        self._worker.call("cache_write", {"name": name, "offset": offset}, {"data": data})
        self.sent_bytes += len(chunk)

    def _call(self, verb: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        reply: Reply = self._worker.call(verb, fields)
        return reply.fields


@contextmanager
def remote_cache(
    gate: Gate, environment: str, what: str, modules: Sequence[str] = ()
) -> Iterator[RemoteCache]:
    """Open the cache of an environment's host, its hardware checked.

    Args:
        gate: Gives the worker.
        environment: One over ssh.
        what: What is done there, for the line that says how long it takes.
        modules: The recipes that `build` will need.

    Raises:
        InferbenchError: It cannot be reached (IB-305), or is not what it was declared to be
            (IB-208).
    """
    declared = gate.settings.environments[environment]
    with gate.launch(environment, modules) as worker:
        found = worker.call("hardware").fields
        check_hardware(environment, declared.hardware, (found["cpu"], *found["gpus"]), declared.ssh)
        wait_s = gate.settings.worker.build_timeout_s
        progress = gate.progress(f"environment {environment}: {what}")
        yield RemoteCache(worker, environment, wait_s, progress)


def _chunks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file in pieces with their offsets; one empty piece for an empty file."""
    offset = 0
    with path.open("rb") as file:
        while (chunk := file.read(CHUNK_BYTES)) or offset == 0:
            yield offset, chunk
            offset += len(chunk)
            if not chunk:
                return


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_as_of(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))


@lru_cache(maxsize=256)
def _sha256_as_of(path: Path, _seen: tuple[int, int, int]) -> str:
    from pytest_inferbench.artifacts.cache import sha256_of

    return sha256_of(path)
