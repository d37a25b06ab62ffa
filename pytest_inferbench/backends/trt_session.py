"""Runs a loaded TensorRT engine: takes arrays, gives arrays; knows no file and no key.

An execution context is not for several threads, so calls take turns. Each set of inputs has buffers
of its own: those that are timed in turn stay on the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array, DeviceTimer, TensorSpec
from pytest_inferbench.backends.device_buffers import Cuda
from pytest_inferbench.backends.trt_flavour import Flavour
from pytest_inferbench.backends.trt_network import numpy_name
from pytest_inferbench.backends.trt_profiles import Profile
from pytest_inferbench.errors import InferbenchError


class Session:
    """An engine with a context on a device.

    Attributes:
        inputs: What the engine takes.
        outputs: What it gives.
        profiles: The shapes that it takes, by input.
    """

    def __init__(self, flavour: Flavour, engine: Any, cuda: Cuda, *, graphs: bool = False) -> None:
        trt = flavour.trt
        self._flavour, self._engine, self._cuda, self._graphs = flavour, engine, cuda, graphs
        self._lock = threading.Lock()
        self._stream = cuda.stream()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(self._spec(name) for name in names if is_input[name])
        self.outputs = tuple(self._spec(name) for name in names if not is_input[name])
        self._on_host = {
            name for name in names if engine.get_tensor_location(name) == trt.TensorLocation.HOST
        }
        self.profiles = {
            name: Profile(
                *(tuple(map(int, shape)) for shape in engine.get_tensor_profile_shape(name, 0))
            )
            for name in names
            if is_input[name] and name not in self._on_host
        }
        self._context = self.new_context()
        self._shared = _Binding(self, self._context)

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; the outputs are copies."""
        with self._lock, self._cuda.active():
            self._shared.put(arrays)
            self._shared.enqueue()
            return self._shared.outputs()

    def prepare(self, arrays: Mapping[str, Array]) -> Callable[[], object]:
        """Put inputs on the device, and return what runs there and waits until it is done."""
        with self._lock, self._cuda.active():
            binding = _Binding(self, self.new_context() if self._graphs else self._context)
            binding.put(arrays)
            binding.enqueue()
            binding.outputs()  # buffers of outputs have their size, and no call reallocates
            launch = binding.captured() if self._captures else binding.enqueue

        def call() -> None:
            with self._lock, self._cuda.active():
                launch()
                self._cuda.synchronize(self._stream)

        return call

    def synchronize(self) -> None:
        """Wait for the device."""
        with self._lock, self._cuda.active():
            self._cuda.synchronize(self._stream)

    def timer(self) -> DeviceTimer:
        """Return what times a prepared call between two events of the stream that it runs on."""
        with self._lock, self._cuda.active():
            started, stopped = self._cuda.event(), self._cuda.event()

        def time_ms(call: Callable[[], object]) -> float:
            # The call takes the lock itself and waits: only its own work is between the events.
            with self._cuda.active():
                self._cuda.record(started, self._stream)
            call()
            with self._cuda.active():
                self._cuda.record(stopped, self._stream)
                self._cuda.synchronize(self._stream)
                return self._cuda.elapsed_ms(started, stopped)

        return time_ms

    def new_context(self) -> Any:
        """Return an execution context.

        Raises:
            InferbenchError: The device has no memory for it, most likely (IB-373).
        """
        if self._graphs and self._flavour.is_rtx:  # that one captures by itself
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self._flavour.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            made = self._engine.create_execution_context(config)
        else:
            made = self._engine.create_execution_context()
        if made is None:
            raise InferbenchError(
                "IB-373", "TensorRT made no execution context", "Is the device's memory full?"
            )
        return made

    @property
    def _captures(self) -> bool:
        return self._graphs and not self._flavour.is_rtx

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(int(size) for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, numpy_name(self._engine.get_tensor_dtype(name)), shape)


class _Binding:
    """One set of inputs and outputs: their buffers, and a context to run them in."""

    def __init__(self, session: Session, context: Any) -> None:
        self._session, self._context, self._cuda = session, context, session._cuda
        self._stream = session._stream
        self._device: dict[str, tuple[int, int]] = {}
        self._staging: dict[str, Array] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dynamic: dict[str, Any] = {}

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Copy inputs to the device, and make room for what comes out."""
        for spec in self._session.inputs:
            array = arrays[spec.name]
            self._refuse_outside(spec.name, array.shape)
            self._shapes[spec.name] = array.shape
            staging = self._staged(spec.name, array.nbytes)
            staging[: array.nbytes] = array.reshape(-1).view(np.uint8)
            if spec.name not in self._session._on_host:
                address = self._room(spec.name, array.nbytes)
                self._cuda.upload(address, staging[: array.nbytes], self._stream)
        self._apply()
        unknown = self._context.infer_shapes()
        if unknown:
            raise InferbenchError(
                "IB-373", f"TensorRT lacks the shape or value of {', '.join(unknown)}"
            )
        for spec in self._session.outputs:
            shape = tuple(map(int, self._context.get_tensor_shape(spec.name)))
            if -1 in shape:
                self._dynamic.setdefault(spec.name, _allocator(self._session._flavour, self._room))
                continue
            self._shapes[spec.name] = shape
            size_bytes = _size_bytes(shape, spec.dtype)
            self._staged(spec.name, size_bytes)
            if spec.name not in self._session._on_host:
                self._room(spec.name, size_bytes)

    def enqueue(self) -> None:
        """Put one run on the stream."""
        self._apply()
        for name, allocator in self._dynamic.items():
            self._context.set_output_allocator(name, allocator)
        for spec in self._session.outputs:
            if spec.name not in self._dynamic:
                self._context.set_tensor_address(spec.name, self._address(spec.name))
        if not self._context.execute_async_v3(self._stream):
            raise InferbenchError("IB-373", "TensorRT refused to run: see the worker's last lines")

    def captured(self) -> Callable[[], object]:
        """Return a CUDA graph of one run, which must have run before."""
        if self._dynamic:
            raise InferbenchError(
                "IB-323",
                f"option 'cuda_graphs' cannot be used: the size of {', '.join(self._dynamic)}"
                " depends on the data",
                "Leave cuda_graphs out for this model.",
            )
        return self._cuda.capture(self._stream, self.enqueue)

    def outputs(self) -> dict[str, Array]:
        """Wait, and return copies of the outputs."""
        if self._dynamic:
            self._cuda.synchronize(self._stream)  # sizes are known only now
        views = {}
        for spec in self._session.outputs:
            if spec.name in self._dynamic:
                self._shapes[spec.name] = self._dynamic[spec.name].shapes[spec.name]
            size_bytes = _size_bytes(self._shapes[spec.name], spec.dtype)
            views[spec.name] = self._staged(spec.name, size_bytes)[:size_bytes]
            if spec.name not in self._session._on_host:
                self._cuda.download(views[spec.name], self._address(spec.name), self._stream)
        self._cuda.synchronize(self._stream)
        return {
            spec.name: views[spec.name].copy().view(spec.dtype).reshape(self._shapes[spec.name])
            for spec in self._session.outputs
        }

    def _apply(self) -> None:
        """Tell the context, which others may have used since, of these inputs."""
        for spec in self._session.inputs:
            if spec.name not in self._session._on_host:
                self._context.set_input_shape(spec.name, self._shapes[spec.name])
            self._context.set_tensor_address(spec.name, self._address(spec.name))

    def _address(self, name: str) -> int:
        if name in self._session._on_host:
            return int(self._staging[name].ctypes.data)
        return self._device[name][0]

    def _room(self, name: str, size_bytes: int) -> int:
        """Return the address of device memory of at least a size."""
        address, has_bytes = self._device.get(name, (0, -1))
        if has_bytes < size_bytes:
            if address:
                self._cuda.free(address)
            self._device[name] = (self._cuda.allocate(size_bytes), size_bytes)
        return self._device[name][0]

    def _staged(self, name: str, size_bytes: int) -> Array:
        if len(self._staging.get(name, b"")) < max(1, size_bytes):
            self._staging[name] = self._cuda.pinned(max(1, size_bytes))
        return self._staging[name]

    def _refuse_outside(self, name: str, shape: tuple[int, ...]) -> None:
        profile = self._session.profiles.get(name)
        if profile is not None and not profile.fits(shape):
            raise InferbenchError(
                "IB-371",
                f"the input {name!r} has shape {'x'.join(map(str, shape))}, and the engine was"
                f" built for {profile}",
                f"Set profiles.{name} in the backend's settings.",
            )


def _allocator(flavour: Flavour, room: Callable[[str, int], int]) -> Any:
    """Return what TensorRT asks for memory for outputs whose size it learns as it runs."""
    base: Any = flavour.trt.IOutputAllocator

    class Allocator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.shapes: dict[str, tuple[int, ...]] = {}

        def reallocate_output(self, name: str, _memory: int, size: int, _alignment: int) -> int:
            return room(name, size)

        def reallocate_output_async(
            self, name: str, _memory: int, size: int, _alignment: int, _stream: int
        ) -> int:
            return room(name, size)

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shapes[name] = tuple(map(int, shape))

    return Allocator()


def _size_bytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
