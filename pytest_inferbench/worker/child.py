"""The worker's process: takes frames on pipes, gives replies; knows neither pytest nor settings.

Run from text by `BOOTSTRAP`, before anything of ours can be imported: hence the standard library
only, until `main` has put in place the finder that imports the shipped modules from memory.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1

# The first message on the pipe is the bundle; the rest are frames.
BOOTSTRAP = """\
import json, os, sys
sys.path[:] = [p for p in sys.path if p]
r, w, parent = map(int, sys.argv[1:4])
def read(n):
    data = bytearray()
    while len(data) < n:
        part = os.read(r, n - len(data))
        if not part: sys.exit(0)
        data += part
    return bytes(data)
bundle = json.loads(read(int.from_bytes(read(8), "little")))
name = "pytest_inferbench.worker.child"
scope = {"__name__": name}
exec(compile(bundle[name], "shipped/pytest_inferbench/worker/child.py", "exec"), scope)
scope["main"](bundle, r, w, parent)
"""


class ShippedModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from memory, under their own names, with source lines in tracebacks."""

    def __init__(self, sources: Mapping[str, str | None]) -> None:
        self._sources = sources

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a shipped module."""
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(
            fullname, self, origin=self._origin(fullname), is_package=self.is_package(fullname)
        )

    def is_package(self, fullname: str) -> bool:
        """Whether anything shipped lies below the name."""
        return any(name.startswith(f"{fullname}.") for name in self._sources)

    def get_source(self, fullname: str) -> str:
        """Return the text, for `linecache`."""
        return self._sources[fullname] or ""

    def get_code(self, fullname: str) -> Any:
        """Return the compiled text."""
        return compile(self.get_source(fullname), self._origin(fullname), "exec")

    @staticmethod
    def _origin(fullname: str) -> str:
        return f"shipped/{fullname.replace('.', '/')}.py"  # linecache ignores names in <>


def main(bundle: Mapping[str, str | None], read_fd: int, write_fd: int, parent: int) -> None:
    """Serve until the pipe ends."""
    _arm(read_fd, write_fd, parent)
    sys.meta_path.insert(0, ShippedModules(bundle))
    from pytest_inferbench.worker import affinity

    unpinned: Exception | None = None
    try:
        affinity.pin_this_process(os.environ)  # before numpy, which has threads
    except Exception as error:  # noqa: BLE001 - the first call is told, whatever it is
        unpinned = error
    from pytest_inferbench.worker.protocol import decode, encode
    from pytest_inferbench.worker.servant import Servant

    servant = Servant()
    while (length := _read(read_fd, LENGTH.size)) is not None:
        frame = _read(read_fd, LENGTH.unpack(length)[0])
        if frame is None:
            break
        try:
            if unpinned is not None:
                raise unpinned
            request, arrays = decode(frame)
            fields, results = servant.handle(request["verb"], request["fields"], arrays)
            reply = encode({"result": fields}, results)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is its result
            reply = encode({"error": describe_error(error)})
        _write(write_fd, LENGTH.pack(len(reply)), reply)
        del frame, reply  # a big frame must not be held while the next one arrives
    os._exit(0)  # a runtime's exit handlers may hang or crash, and nothing of theirs is needed


def describe_error(error: BaseException) -> dict[str, str]:
    """Return an exception as plain text; `code` is empty unless it is an `InferbenchError`."""
    from pytest_inferbench.errors import InferbenchError

    described = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "message": str(error),
        "code": "",
        "hint": "",
        "traceback": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, InferbenchError):
        described.update(message=error.message, code=error.code, hint=error.hint)
    return described


def _arm(read_fd: int, write_fd: int, parent: int) -> None:
    """Die with the supervisor, be the first to go when memory ends, tell where it crashed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    for fd in (read_fd, write_fd):
        os.set_inheritable(fd, False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked for before a timeout's kill


def _read(fd: int, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    filled = 0
    while filled < size:
        got = os.readv(fd, [view[filled:]])
        if got == 0:
            return None
        filled += got
    return data


def _write(fd: int, *parts: bytes) -> None:
    views = [memoryview(part) for part in parts]
    while views:
        sent = os.writev(fd, views)
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if views:
            views[0] = views[0][sent:]
