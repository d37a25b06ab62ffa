"""Calls to a Triton server over gRPC: takes tensors, gives the answer; bytes or shared memory.

Knows no variant and not whose server it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.http_tensors import UnreadableError
from pytest_inferbench.backends.triton_http import Reading, Where, unreadable
from pytest_inferbench.backends.triton_tensors import Region, Tensor, decode
from pytest_inferbench.serving.control_grpc import GrpcControl


class Request(NamedTuple):
    """A message with its size, and whether outputs are put into shared memory."""

    message: Any
    size: int
    in_memory: bool


class GrpcCalls:
    """One model of one server; the channel is shared by all threads."""

    def __init__(
        self, url: str, model: str, outputs: Sequence[TensorSpec], *, timeout_s: float
    ) -> None:
        self._model, self._where = model, f"ModelInfer of grpc://{url}"
        self._outputs = {spec.name: spec for spec in outputs}
        self._service = GrpcControl(url, timeout_s)

    def request(
        self,
        tensors: Sequence[Tensor],
        _arrays: Mapping[str, Array],
        into: Where | None = None,
    ) -> Request:
        """Return what is sent; see `HttpCalls.request`."""
        message = self._service.messages.ModelInferRequest(model_name=self._model)
        for tensor in tensors:
            entry = message.inputs.add(
                name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
            )
            if isinstance(tensor.content, Region):
                _put_in_memory(entry, tensor.content)
            else:
                message.raw_input_contents.append(tensor.content)
        for name in self._outputs:
            entry = message.outputs.add(name=name)
            if into is not None:
                _put_in_memory(entry, into[name])
        return Request(message, message.ByteSize(), into is not None)

    def run(self, request: Request) -> Reading:
        """Send a request and read its answer; see `HttpCalls.run`."""
        began_s = time.perf_counter()
        answer = self._service.ask(self._service.stub.ModelInfer, request.message)
        read_from_s = time.perf_counter()
        try:
            arrays, shapes = self._read(answer, in_memory=request.in_memory)
        except UnreadableError as error:
            raise unreadable(self._where, str(error)) from error
        wire_ms = (read_from_s - began_s) * 1e3
        return Reading(arrays, shapes, wire_ms, request.size, answer.ByteSize(), read_from_s)

    def close(self) -> None:
        """Close the channel."""
        self._service.close()

    def _read(
        self, answer: Any, *, in_memory: bool
    ) -> tuple[dict[str, Array], dict[str, list[int]]]:
        shapes = {each.name: list(each.shape) for each in answer.outputs}
        if in_memory:
            return {}, shapes
        if len(answer.raw_output_contents) != len(answer.outputs):
            raise UnreadableError("its outputs and their bytes are not as many")
        return {
            each.name: decode(content, self._outputs[each.name], each.shape, each.datatype)
            for each, content in zip(answer.outputs, answer.raw_output_contents, strict=True)
            if each.name in self._outputs
        }, shapes


def _put_in_memory(entry: Any, region: Region) -> None:
    entry.parameters["shared_memory_region"].string_param = region.name
    entry.parameters["shared_memory_byte_size"].int64_param = region.size
    if region.offset:
        entry.parameters["shared_memory_offset"].int64_param = region.offset
