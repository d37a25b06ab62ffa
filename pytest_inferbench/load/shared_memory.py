"""System shared memory for tensors: takes a size, gives a region with a key that a server can open.

A region's name is to be ended as soon as the server has opened it, so that nothing is left whoever
dies; before that, only the standard library's tracker cleans up, which dies with its process group.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from multiprocessing import shared_memory

from pytest_inferbench.errors import InferbenchError


class Region:
    """A piece of memory under a name of its own.

    Attributes:
        name: What requests call it.
        key: What the server opens.
        size: Its bytes.
    """

    def __init__(self, size: int) -> None:
        name = f"inferbench-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self._memory = shared_memory.SharedMemory(name, create=True, size=max(1, size))
        except OSError as error:
            raise InferbenchError(
                "IB-835",
                f"{size} bytes of shared memory cannot be had: {error}",
                "In a container, give it more with --shm-size.",
            ) from None
        self._named = True
        self.name = name
        self.key = f"/{name}"
        self.size = size

    def write(self, offset: int, raw: bytes) -> None:
        """Put bytes into it."""
        memory = self._view()
        memory[offset : offset + len(raw)] = raw

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of it."""
        return bytes(self._view()[offset : offset + size])

    def unlink(self) -> None:
        """End its name; who has it open keeps it."""
        if self._named:
            self._named = False
            with contextlib.suppress(FileNotFoundError):
                self._memory.unlink()

    def close(self) -> None:
        """End it; what the server has open stays until it is told otherwise."""
        self._memory.close()
        self.unlink()

    def _view(self) -> memoryview:
        view = self._memory.buf
        assert view is not None
        return view
