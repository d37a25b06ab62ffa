"""A model as a server has it: takes a server and an artifact, gives what is served, or refuses.

Knows no connection of its own and no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.http_options import contradiction
from pytest_inferbench.backends.triton_options import TritonOptions
from pytest_inferbench.backends.triton_tensors import sent_shape
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.datatypes import specs_of
from pytest_inferbench.serving.onnx_signature import read_onnx
from pytest_inferbench.serving.repository import Served
from pytest_inferbench.serving.server import Server


def find_model(server: Server, chosen: TritonOptions, artifact: Path) -> Served:
    """Return what a server that runs already has under the model's name.

    Raises:
        InferbenchError: It has no such model (IB-384), or another one than the artifact (IB-387).
    """
    told = server.control.model_metadata(chosen.model)
    inputs, outputs = specs_of(told["inputs"]), specs_of(told["outputs"])
    limit = int(server.control.model_config(chosen.model).get("max_batch_size", 0))
    served = Served(chosen.model, (chosen.model,), inputs, outputs, limit)
    if artifact.suffix != ".onnx" or not artifact.is_file():
        return served
    ours = read_onnx(artifact)
    as_sent = as_served(ours.inputs, limit), as_served(ours.outputs, limit)
    if differs := contradiction((inputs, outputs), as_sent):
        raise InferbenchError(
            "IB-387",
            f"the model {chosen.model!r} of {chosen.url} is not {artifact.name}: {differs}",
            "Name the right one with the option model.",
        )
    return replace(served, inputs=ours.inputs, outputs=ours.outputs)


def as_served(specs: Sequence[TensorSpec], limit: int) -> tuple[TensorSpec, ...]:
    """Return specs with the shapes that a server tells of them."""
    return tuple(
        replace(spec, shape=sent_shape(spec.shape, is_batched=limit > 0)) if spec.shape else spec
        for spec in specs
    )


def check_carried(protocol: str, served: Served) -> None:
    """Refuse types that a protocol does not carry.

    Raises:
        InferbenchError: IB-815.
    """
    not_carried: tuple[str, ...] = ("string",) if protocol.endswith("-shm") else ()
    if protocol == "http-json":
        not_carried = ("float16", "bfloat16")
    for spec in (*served.inputs, *served.outputs):
        if spec.dtype in not_carried:
            raise InferbenchError(
                "IB-815",
                f"the protocol {protocol} does not carry {spec}",
                "Use the protocol http or grpc.",
            )
