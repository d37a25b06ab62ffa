"""A model behind a Triton server: takes an artifact and options, gives outputs; no budget.

The server is started here, as a child of the worker, with the artifact in a repository of its own;
or it is somebody's, reached by its URL, and serves the model already. Tensors travel as the
variant's protocol says.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.backends.http_timings import Call, Timings
from pytest_inferbench.backends.triton_http import HttpCalls, Reading
from pytest_inferbench.backends.triton_memory import Calls, MemoryCalls
from pytest_inferbench.backends.triton_models import check_carried, find_model
from pytest_inferbench.backends.triton_options import TritonOptions, read_options
from pytest_inferbench.backends.triton_tensors import to_tensors
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.command import order_for
from pytest_inferbench.serving.process import own_prefix
from pytest_inferbench.serving.repository import Served, signature_from, write_repository
from pytest_inferbench.serving.server import Server, connect, facts_of, start
from pytest_inferbench.serving.times import server_times
from pytest_inferbench.serving.variant import OVER_GRPC

_SIGNATURE = tuple[Sequence[TensorSpec], Sequence[TensorSpec]]


class Triton(Backend):
    """A model in a server; its connections are shared by all threads."""

    distributions = ("tritonclient",)

    def _open(self, artifact: str, options: Mapping[str, Any], precision: str) -> _SIGNATURE:  # noqa: ARG002 - what a file computes in is in the file
        self._options = chosen = read_options(options)
        self._timings = Timings()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{own_prefix()}models-"))
        self._server: Server | None = None
        self._calls: Calls | MemoryCalls | None = None
        try:
            self._served = self._have_server(Path(artifact), chosen)
            self._calls = self._connect(self._server_here, chosen)
            self._facts = facts_of(self._server_here)
            self._before = self._server_here.control.statistics(self._served.name)
        except BaseException:
            self._close()
            raise
        return self._served.inputs, self._served.outputs

    def _have_server(self, artifact: Path, chosen: TritonOptions) -> Served:
        """Start a server with the artifact, or find the model in one that runs."""
        if chosen.url:
            self._server = connect(chosen.url, chosen.metrics_url, chosen.timeout_s)
            return find_model(self._server, chosen, artifact)
        assert chosen.installation is not None  # `read_options` refuses it otherwise
        signature = signature_from(chosen.signature) if chosen.signature else None
        served = write_repository(self._folder, chosen.model, artifact, chosen.variant, signature)
        order = order_for(self._folder, served.models, chosen.variant, chosen.ready_s)
        self._server = start(chosen.installation, order)
        return served

    def _connect(self, server: Server, chosen: TritonOptions) -> Calls | MemoryCalls:
        protocol, name, outputs = chosen.variant.protocol, self._served.name, self._served.outputs
        check_carried(protocol, self._served)
        calls: Calls
        if protocol in OVER_GRPC:
            from pytest_inferbench.backends.triton_grpc import GrpcCalls

            calls = GrpcCalls(server.grpc_url, name, outputs, timeout_s=chosen.timeout_s)
        else:
            as_text, limit_s = protocol == "http-json", chosen.timeout_s
            calls = HttpCalls(server.http_url, name, outputs, timeout_s=limit_s, as_text=as_text)
        if not protocol.endswith("-shm"):
            return calls
        gpu = next(iter(chosen.variant.gpus), 0) if protocol == "cuda-shm" else None
        return MemoryCalls(calls, server.control, server.segments, outputs, gpu)

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        return self._made(inputs)()

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        return self._made(inputs) if self._options.prepared else lambda: self._infer(inputs)

    def _made(self, inputs: dict[str, Array]) -> Callable[[], dict[str, Array]]:
        """Return a call with its request made."""
        started_s, calls = time.perf_counter(), self._calls
        tensors = to_tensors(inputs, self.inputs, is_batched=self._served.batch_limit > 0)
        if isinstance(calls, MemoryCalls):
            through = calls
            run = lambda: through.run(tensors, inputs)  # noqa: E731
        else:
            assert calls is not None
            plain, request = calls, calls.request(tensors, inputs)
            run = lambda: plain.run(request)  # noqa: E731
        serialize_ms = (time.perf_counter() - started_s) * 1e3
        return lambda: self._noted(run, serialize_ms)

    def _noted(self, run: Callable[[], Reading], serialize_ms: float) -> dict[str, Array]:
        try:
            reading = run()
        except InferbenchError:
            self._server_here.check_and_mend()
            raise
        deserialize_ms = (time.perf_counter() - reading.read_from_s) * 1e3
        sizes = reading.request_bytes, reading.response_bytes
        times_ms = serialize_ms, reading.wire_ms, deserialize_ms
        self._timings.add(Call(*times_ms, None, None, *sizes))
        return reading.arrays

    def _describe(self) -> Mapping[str, Any]:
        variant, server = self._options.variant, self._server_here
        return {
            "device": variant.device if server.is_owned else "remote",
            "provider": f"triton-{variant.runtime}" if server.is_owned else "triton",
            "model": self._served.name,
            "protocol": variant.protocol,
            "prepared": self._options.prepared,
            "variant": variant.as_fields(),
            "pid": server.pid,
            **self._facts,
            "server_times": server_times(
                self._before, server.control.statistics(self._served.name)
            ),
            **self._timings.as_fields(),
        }

    def _close(self) -> None:
        if self._calls is not None:
            self._calls.close()
        if self._server is not None:
            self._server.stop(gently=False)  # no request of ours is in flight
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _server_here(self) -> Server:
        assert self._server is not None
        return self._server
