"""Calls whose tensors lie in memory that client and server share: takes arrays, gives answers.

Around the calls of either protocol. Each call has a pair of segments to itself while it lasts;
they are made once for inputs of the same sizes, and their names are gone as soon as the server has
opened them, so that nothing is left whoever dies.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.http_tensors import UnreadableError, kept_in
from pytest_inferbench.backends.triton_http import Reading, Where, unreadable
from pytest_inferbench.backends.triton_tensors import Region, Tensor, decode
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.control import Control
from pytest_inferbench.serving.datatypes import PROTOCOL

_FOLDER = "/dev/shm"
_ALIGN = 64


class Calls(Protocol):
    """What `HttpCalls` and `GrpcCalls` have in common."""

    def request(
        self, tensors: Sequence[Tensor], arrays: Mapping[str, Array], into: Where | None = None
    ) -> Any:
        """Return what is sent."""

    def run(self, request: Any) -> Reading:
        """Send it and read the answer."""

    def close(self) -> None:
        """Close the connections."""


class Segment(Protocol):
    """Memory that the server has opened.

    Attributes:
        name: What it was registered as.
    """

    name: str

    def write(self, offset: int, content: bytes) -> None:
        """Put bytes there."""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes."""

    def close(self) -> None:
        """Take it back from the server, and free it."""


class SystemSegment:
    """A segment of the system's shared memory."""

    def __init__(self, control: Control, prefix: str, size: int) -> None:
        self.name = f"{prefix}-client-{uuid.uuid4().hex[:12]}"
        self._control = control
        path = f"{_FOLDER}/{self.name}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(file, 0, size)  # a full /dev/shm is an error here, no signal later
            self._memory = mmap.mmap(file, size)
            control.register_memory(self.name, f"/{self.name}", size)
        finally:
            os.close(file)
            os.unlink(path)  # noqa: PTH108

    def write(self, offset: int, content: bytes) -> None:
        """See `Segment.write`."""
        self._memory[offset : offset + len(content)] = content

    def read(self, offset: int, size: int) -> bytes:
        """See `Segment.read`."""
        return self._memory[offset : offset + size]

    def close(self) -> None:
        """See `Segment.close`."""
        with contextlib.suppress(InferbenchError):  # a server that is gone has nothing open
            self._control.unregister_memory(self.name)
        self._memory.close()


class CudaSegment:
    """A segment of a GPU's memory; never run by this project's authors."""

    def __init__(self, control: Control, prefix: str, size: int, device: int) -> None:
        from tritonclient.utils import cuda_shared_memory as cuda

        self.name = f"{prefix}-client-{uuid.uuid4().hex[:12]}"
        self._control, self._cuda = control, cuda
        self._memory = cuda.create_shared_memory_region(self.name, size, device)
        control.register_cuda_memory(self.name, cuda.get_raw_handle(self._memory), device, size)

    def write(self, offset: int, content: bytes) -> None:
        """See `Segment.write`."""
        import numpy as np

        data = [np.frombuffer(content, np.uint8)]
        self._cuda.set_shared_memory_region(self._memory, data, offset)

    def read(self, offset: int, size: int) -> bytes:
        """See `Segment.read`."""
        content = self._cuda.get_contents_as_numpy(self._memory, "uint8", [size], offset)
        return bytes(content.tobytes())

    def close(self) -> None:
        """See `Segment.close`."""
        with contextlib.suppress(InferbenchError):
            self._control.unregister_memory(self.name, cuda=True)
        self._cuda.destroy_shared_memory_region(self._memory)


class _Slot(NamedTuple):
    """A pair of segments, with the request that names them."""

    inputs: Segment
    outputs: Segment
    tensors: Sequence[Tensor]
    into: Mapping[str, Region]
    request: Any


class MemoryCalls:
    """One model's calls through shared memory, for all threads."""

    def __init__(
        self,
        calls: Calls,
        control: Control,
        prefix: str,
        outputs: Sequence[TensorSpec],
        device: int | None = None,
    ) -> None:
        """Begin.

        Args:
            calls: How requests travel.
            control: How the server is told of segments.
            prefix: How their names begin.
            outputs: What the model gives.
            device: The GPU whose memory is shared; None for the system's.
        """
        self._calls, self._control, self._prefix, self._device = calls, control, prefix, device
        self._outputs = {spec.name: spec for spec in outputs}
        self._sizes: dict[Any, dict[str, int]] = {}
        self._slots: dict[Any, deque[_Slot]] = {}

    def run(self, tensors: Sequence[Tensor], arrays: Mapping[str, Array]) -> Reading:
        """Send inputs and return the outputs.

        Where nothing is known yet of the outputs' sizes for such inputs, they are asked for once
        without shared memory; the answer that is given is always the one that came through it.
        """
        key = tuple((tensor.shape, len(tensor.content)) for tensor in tensors)  # type: ignore[arg-type]
        try:
            return self._through(key, tensors, arrays)
        except InferbenchError as error:
            if error.code != "IB-384" or "at least" not in error.message:
                raise
            self._forget(key)  # its outputs are larger this time
            return self._through(key, tensors, arrays)

    def close(self) -> None:
        """Take every segment back."""
        for key in list(self._slots):
            self._forget(key)
        self._calls.close()

    def _through(self, key: Any, tensors: Sequence[Tensor], arrays: Mapping[str, Array]) -> Reading:
        if key not in self._sizes:
            answer = self._calls.run(self._calls.request(tensors, arrays)).arrays
            self._sizes[key] = {name: array.nbytes for name, array in answer.items()}
        free = self._slots.setdefault(key, deque())
        try:
            slot = free.pop()
        except IndexError:
            slot = self._new_slot(tensors, self._sizes[key])
        for tensor, placed in zip(tensors, slot.tensors, strict=True):
            assert isinstance(tensor.content, bytes)
            assert isinstance(placed.content, Region)
            slot.inputs.write(placed.content.offset, tensor.content)
        try:
            reading = self._calls.run(slot.request)
            found = {name: self._read(slot, name, reading.shapes) for name in self._outputs}
        except BaseException:
            _close(slot)  # a late answer must not be written into another call's memory
            raise
        free.append(slot)
        return reading._replace(arrays=found)

    def _read(self, slot: _Slot, name: str, shapes: Mapping[str, Sequence[int]]) -> Array:
        spec, region = self._outputs[name], slot.into[name]
        count = kept_in(spec).itemsize
        for number in shapes.get(name, ()):
            count *= number
        if name not in shapes or count > region.size:
            raise unreadable("shared memory", f"output {name!r} is not there")
        content = slot.outputs.read(region.offset, count)
        try:
            return decode(content, spec, shapes[name], PROTOCOL[spec.dtype])
        except UnreadableError as error:
            raise unreadable("shared memory", str(error)) from error

    def _new_slot(self, tensors: Sequence[Tensor], sizes: Mapping[str, int]) -> _Slot:
        given = {tensor.name: len(tensor.content) for tensor in tensors}  # type: ignore[arg-type]
        inputs = self._segment(given)
        try:
            outputs = self._segment(sizes)
        except BaseException:
            inputs.close()
            raise
        placed = _placed(inputs.name, given)
        into = _placed(outputs.name, sizes)
        there = [replace(tensor, content=placed[tensor.name]) for tensor in tensors]
        return _Slot(inputs, outputs, there, into, self._calls.request(there, {}, into))

    def _segment(self, sizes: Mapping[str, int]) -> Segment:
        total = sum(map(_aligned, sizes.values()))
        try:
            if self._device is None:
                return SystemSegment(self._control, self._prefix, total)
            return CudaSegment(self._control, self._prefix, total, self._device)
        except OSError as error:
            raise InferbenchError(
                "IB-814",
                f"{total} bytes of shared memory could not be had: {error}",
                "Give /dev/shm more room (docker run --shm-size), or use another protocol.",
            ) from error

    def _forget(self, key: Any) -> None:
        self._sizes.pop(key, None)
        slots = self._slots.pop(key, deque())
        with contextlib.suppress(IndexError):
            while True:
                _close(slots.pop())


def _close(slot: _Slot) -> None:
    slot.inputs.close()
    slot.outputs.close()


def _aligned(size: int) -> int:
    return max(1, -(-size // _ALIGN)) * _ALIGN


def _placed(segment: str, sizes: Mapping[str, int]) -> dict[str, Region]:
    """Return where each tensor lies in a segment that holds them all."""
    found, at = {}, 0
    for name, size in sizes.items():
        found[name] = Region(segment, at, size)
        at += _aligned(size)
    return found
