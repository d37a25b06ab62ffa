"""Names of types: numpy's, the protocol's and the configuration's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError

PROTOCOL: Mapping[str, str] = {
    "bool": "BOOL",
    **{
        f"{sign}int{bits}": f"{sign.upper()}INT{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
"""A type's name in requests, by numpy's name for it (or that of a key of `CARRIERS`)."""

NUMPY: Mapping[str, str] = {theirs: ours for ours, theirs in PROTOCOL.items()}
"""The other way round."""


def protocol_type(spec: TensorSpec) -> str:
    """Return a type's name in requests.

    Raises:
        InferbenchError: A server carries no such type (IB-806).
    """
    if spec.dtype not in PROTOCOL:
        raise InferbenchError(
            "IB-806",
            f"{spec.name!r} is {spec.dtype}, which no Triton server carries",
            f"It carries {', '.join(PROTOCOL)}.",
        )
    return PROTOCOL[spec.dtype]


def config_type(spec: TensorSpec) -> str:
    """Return a type's name in a model's configuration.

    Raises:
        InferbenchError: A server carries no such type (IB-806).
    """
    name = protocol_type(spec)
    return "TYPE_STRING" if name == "BYTES" else f"TYPE_{name}"


def specs_of(tensors: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return inputs or outputs as a server's metadata tells them.

    Raises:
        InferbenchError: One is of a type that is not known (IB-806).
    """
    found = []
    for each in tensors:
        if each["datatype"] not in NUMPY:
            raise InferbenchError(
                "IB-806", f"{each['name']!r} is {each['datatype']!r}, which is not known here"
            )
        shape = tuple(int(n) for n in each.get("shape", ()))  # gRPC's JSON has them as text
        found.append(TensorSpec(each["name"], NUMPY[each["datatype"]], shape))
    return tuple(found)
