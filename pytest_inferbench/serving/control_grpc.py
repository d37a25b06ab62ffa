"""A server's control interface over gRPC: `Control` by tritonclient's messages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.control import Control, Fields, refused
from pytest_inferbench.serving.messages import message_module

_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)


class GrpcControl(Control):
    """Over gRPC.

    Attributes:
        stub: The service's stub, for who sends tensors.
        messages: The module of its messages.
    """

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        service_pb2 = message_module("service_pb2")
        service_pb2_grpc = message_module("service_pb2_grpc")
        import grpc

        self.url, self._timeout_s = url, timeout_s
        self.messages = service_pb2
        self._channel = grpc.insecure_channel(url, options=_CHANNEL)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def is_ready(self) -> bool:
        """See `Control.is_ready`."""
        return self._says_yes(self.stub.ServerReady, self.messages.ServerReadyRequest())

    def is_model_ready(self, model: str) -> bool:
        """See `Control.is_model_ready`."""
        return self._says_yes(self.stub.ModelReady, self.messages.ModelReadyRequest(name=model))

    def metadata(self) -> Fields:
        """See `Control.metadata`."""
        return _plain(self.ask(self.stub.ServerMetadata, self.messages.ServerMetadataRequest()))

    def model_metadata(self, model: str) -> Fields:
        """See `Control.model_metadata`."""
        request = self.messages.ModelMetadataRequest(name=model)
        return _plain(self.ask(self.stub.ModelMetadata, request))

    def model_config(self, model: str) -> Fields:
        """See `Control.model_config`."""
        request = self.messages.ModelConfigRequest(name=model)
        config: Fields = _plain(self.ask(self.stub.ModelConfig, request))["config"]
        return config

    def statistics(self, model: str) -> Fields:
        """See `Control.statistics`."""
        request = self.messages.ModelStatisticsRequest(name=model)
        found: Fields = _plain(self.ask(self.stub.ModelStatistics, request))["model_stats"][0]
        return found

    def load(self, model: str, config: Mapping[str, Any] | None = None) -> None:
        """See `Control.load`."""
        request = self.messages.RepositoryModelLoadRequest(model_name=model)
        if config:
            request.parameters["config"].string_param = json.dumps(dict(config))
        self._changed(model, "load", self.stub.RepositoryModelLoad, request)

    def unload(self, model: str) -> None:
        """See `Control.unload`."""
        request = self.messages.RepositoryModelUnloadRequest(model_name=model)
        self._changed(model, "unload", self.stub.RepositoryModelUnload, request)

    def register_memory(self, name: str, key: str, size: int) -> None:
        """See `Control.register_memory`."""
        request = self.messages.SystemSharedMemoryRegisterRequest(
            name=name, key=key, offset=0, byte_size=size
        )
        self.ask(self.stub.SystemSharedMemoryRegister, request)

    def register_cuda_memory(self, name: str, handle: bytes, device: int, size: int) -> None:
        """See `Control.register_cuda_memory`."""
        request = self.messages.CudaSharedMemoryRegisterRequest(
            name=name, raw_handle=base64.b64decode(handle), device_id=device, byte_size=size
        )
        self.ask(self.stub.CudaSharedMemoryRegister, request)

    def unregister_memory(self, name: str, *, cuda: bool = False) -> None:
        """See `Control.unregister_memory`."""
        if cuda:
            request = self.messages.CudaSharedMemoryUnregisterRequest(name=name)
            self.ask(self.stub.CudaSharedMemoryUnregister, request)
        else:
            request = self.messages.SystemSharedMemoryUnregisterRequest(name=name)
            self.ask(self.stub.SystemSharedMemoryUnregister, request)

    def close(self) -> None:
        """See `Control.close`."""
        self._channel.close()

    def ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Return the answer to a request.

        Raises:
            InferbenchError: The server was not reached (IB-381), took too long (IB-382), or
                refused (IB-384).
        """
        import grpc

        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._named(error, type(request).__name__.removesuffix("Request")) from error
        except ValueError as error:  # the channel was closed
            raise InferbenchError("IB-381", f"{self.url} was asked after closing: {error}") from (
                error
            )

    def _changed(self, model: str, doing: str, method: Callable[..., Any], request: Any) -> None:
        try:
            self.ask(method, request)
        except InferbenchError as error:
            if error.code != "IB-384":
                raise
            raise refused(model, doing, error.message.partition(": ")[2]) from error

    def _says_yes(self, method: Callable[..., Any], request: Any) -> bool:
        try:
            return bool(self.ask(method, request).ready)
        except InferbenchError:
            return False

    def _named(self, error: Any, what: str) -> InferbenchError:
        import grpc

        code, where = error.code(), f"{what} of grpc://{self.url}"
        said = error.details() or "nothing"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return InferbenchError(
                "IB-382",
                f"{where} was not answered within {self._timeout_s:g} s",
                "See the server's own log; the option timeout_s gives it longer.",
            )
        if code is grpc.StatusCode.UNAVAILABLE and "nhealthy" not in said:
            hint = "Is the server up, and is this its host and gRPC port?"
            return InferbenchError("IB-381", f"{where} failed: {said}", hint)
        return InferbenchError(
            "IB-384", f"{where} answered {code.name}: {said}", "See the server's log."
        )


def _plain(message: Any) -> Fields:
    """Return a message as JSON has it, numbers of 64 bits as numbers."""
    from google.protobuf.json_format import MessageToDict

    fields = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {name: _numbers(value) for name, value in fields.items()}


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    is_number = isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 21
    return int(value) if is_number else value
