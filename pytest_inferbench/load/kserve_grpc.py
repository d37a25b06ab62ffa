"""KServe's protocol over gRPC: arrays to messages, messages to arrays. Pure; knows no connection.

The numbers of the fields are those of `grpc_service.proto`; the tests read every message with
tritonclient's own classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from pytest_inferbench.load.protobuf import chunk, fields, integers, number, packed, text
from pytest_inferbench.load.tensors import ModelSpec, Place, TensorSpec, from_raw, to_raw

if TYPE_CHECKING:
    from pytest_inferbench.load.tensors import Array

SERVICE = "/inference.GRPCInferenceService"


def metadata(model: str) -> bytes:
    """Return a ModelMetadataRequest."""
    return chunk(1, model)


def spec_of(message: bytes) -> ModelSpec:
    """Read a ModelMetadataResponse.

    Raises:
        ValueError: It is nothing of the kind.
    """
    name = ""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for field, value in fields(message):
        if field == 1:
            name = text(value)
        elif field in (4, 5) and isinstance(value, memoryview):
            (inputs if field == 4 else outputs).append(_spec(value))
    return ModelSpec(name, tuple(inputs), tuple(outputs))


def infer(
    spec: ModelSpec, inputs: Mapping[str, Array], places: Mapping[str, Place] | None = None
) -> bytes:
    """Return a ModelInferRequest.

    Args:
        spec: The model.
        inputs: An array for each of its inputs.
        places: Tensors that are in shared memory, or are to be put there, by name.
    """
    places = places or {}
    message = bytearray(chunk(1, spec.name))
    raws = bytearray()
    for each in spec.inputs:
        array = inputs[each.name]
        tensor = chunk(1, each.name) + chunk(2, each.datatype) + packed(3, array.shape)
        if each.name in places:
            tensor += _in_region(4, places[each.name])
        else:
            raws += chunk(7, to_raw(array))
        message += chunk(5, tensor)
    for each in spec.outputs:
        wanted = chunk(1, each.name)
        if each.name in places:
            wanted += _in_region(2, places[each.name])
        message += chunk(6, wanted)
    return bytes(message + raws)


def answer(message: bytes, elsewhere: Collection[str] = ()) -> dict[str, Array]:
    """Read the outputs of a ModelInferResponse.

    Args:
        message: The message.
        elsewhere: Outputs that lie in shared memory: they are left out.

    Raises:
        ValueError: It is nothing of the kind.
    """
    specs, raws = [], []
    for field, value in fields(message):
        if field == 5 and isinstance(value, memoryview):
            specs.append(_spec(value))
        elif field == 6 and isinstance(value, memoryview):
            raws.append(value)
    # A server may give an empty chunk for what is in shared memory, or none.
    if len(raws) < len(specs):
        specs = [spec for spec in specs if spec.name not in elsewhere]
    return {
        spec.name: from_raw(raw, spec.datatype, spec.shape)
        for spec, raw in zip(specs, raws, strict=True)
        if spec.name not in elsewhere
    }


def register(place: Place, key: str) -> bytes:
    """Return a SystemSharedMemoryRegisterRequest."""
    return chunk(1, place.region) + chunk(2, key) + number(3, place.offset) + number(4, place.size)


def unregister(region: str) -> bytes:
    """Return a SystemSharedMemoryUnregisterRequest."""
    return chunk(1, region)


def _spec(message: memoryview) -> TensorSpec:
    name = datatype = ""
    shape: list[int] = []
    for field, value in fields(message):
        if field == 1:
            name = text(value)
        elif field == 2:
            datatype = text(value)
        elif field == 3:
            shape += integers(value)
    return TensorSpec(name, datatype, tuple(shape))


def _in_region(field: int, place: Place) -> bytes:
    written = {
        "shared_memory_region": chunk(3, place.region),
        "shared_memory_offset": number(2, place.offset),
        "shared_memory_byte_size": number(2, place.size),
    }
    return b"".join(
        chunk(field, chunk(1, name) + chunk(2, value)) for name, value in written.items()
    )
