"""Calls to a Triton server over HTTP: takes tensors, gives the answer; bytes, text or memory.

Knows no variant and not whose server it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from pytest_inferbench.backends.contract import Array, TensorSpec
from pytest_inferbench.backends.http_connection import Answer, Connections
from pytest_inferbench.backends.http_tensors import UnreadableError, from_json
from pytest_inferbench.backends.triton_tensors import (
    Region,
    Tensor,
    declared_shape,
    decode,
    described,
)
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.control import bad_answer

_LENGTH = "Inference-Header-Content-Length"
_LIMIT_BYTES = 1 << 31

Where = Mapping[str, Region]


class Reading(NamedTuple):
    """An answer: outputs, or their shapes where they are in shared memory; and what it cost."""

    arrays: dict[str, Array]
    shapes: dict[str, list[int]]
    wire_ms: float
    request_bytes: int
    response_bytes: int
    read_from_s: float


class Request(NamedTuple):
    """A body with the headers that describe it."""

    content: bytes
    headers: dict[str, str]


class HttpCalls:
    """One model of one server; connections are shared by all threads."""

    def __init__(
        self,
        url: str,
        model: str,
        outputs: Sequence[TensorSpec],
        *,
        timeout_s: float,
        as_text: bool = False,
    ) -> None:
        self._target = f"{urlsplit(url).path.rstrip('/')}/v2/models/{quote(model)}/infer"
        self._where = f"POST {url.rstrip('/')}/v2/models/{quote(model)}/infer"
        self._outputs = {spec.name: spec for spec in outputs}
        self._as_text = as_text
        self._connections = Connections(
            urlsplit(url), timeout_s=timeout_s, limit_bytes=_LIMIT_BYTES, tls=None
        )

    def request(
        self,
        tensors: Sequence[Tensor],
        arrays: Mapping[str, Array],
        into: Where | None = None,
    ) -> Request:
        """Return what is sent.

        Args:
            tensors: The inputs, encoded.
            arrays: The inputs themselves, for text.
            into: Where outputs shall be put; without it they come with the answer.
        """
        listed, binary = [], []
        for tensor in tensors:
            entry: dict[str, Any] = {
                "name": tensor.name,
                "shape": tensor.shape,
                "datatype": tensor.datatype,
            }
            if isinstance(tensor.content, Region):
                entry["parameters"] = _in_memory(tensor.content)
            elif self._as_text:
                entry["data"] = arrays[tensor.name].reshape(-1).tolist()
            else:
                entry["parameters"] = {"binary_data_size": len(tensor.content)}
                binary.append(tensor.content)
            listed.append(entry)
        fields: dict[str, Any] = {"inputs": listed}
        if into is not None:
            fields["outputs"] = [
                {"name": name, "parameters": _in_memory(region)} for name, region in into.items()
            ]
        elif not self._as_text:
            fields["outputs"] = [described(spec) for spec in self._outputs.values()]
        head = json.dumps(fields, separators=(",", ":")).encode()
        if not binary:
            return Request(head, {"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", _LENGTH: str(len(head))}
        return Request(b"".join((head, *binary)), headers)

    def run(self, request: Request) -> Reading:
        """Send a request and read its answer.

        Raises:
            InferbenchError: The service was not reached, or took too long (IB-381, IB-382), or it
                refused (IB-384), or its answer cannot be read (IB-385, IB-386).
        """
        answer = self._connections.ask("POST", self._target, request.headers, request.content)
        began_s = time.perf_counter()
        if answer.status != 200:
            raise bad_answer(self._where, answer)
        try:
            arrays, shapes = self._read(answer)
        except UnreadableError as error:
            raise unreadable(self._where, str(error)) from error
        sizes = len(request.content), len(answer.content)
        return Reading(arrays, shapes, answer.wire_ms, *sizes, began_s)

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def _read(self, answer: Answer) -> tuple[dict[str, Array], dict[str, list[int]]]:
        size = answer.headers.get(_LENGTH)
        at = int(size) if size and size.isdecimal() else len(answer.content)
        try:
            listed = json.loads(answer.content[:at])["outputs"]
            shapes = {each["name"]: [int(n) for n in each["shape"]] for each in listed}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadableError(f"its outputs cannot be read: {error!r}") from error
        arrays: dict[str, Array] = {}
        for each in listed:
            name, parameters = each["name"], each.get("parameters", {})
            spec = self._outputs.get(name)
            if spec is None or "shared_memory_region" in parameters:
                continue
            if "binary_data_size" in parameters:
                end = at + int(parameters["binary_data_size"])
                content = answer.content[at:end]
                arrays[name] = decode(content, spec, shapes[name], each["datatype"])
                at = end
            elif "data" in each:
                counted = declared_shape(spec, shapes[name])
                arrays[name] = from_json({"shape": counted, "data": each["data"]}, spec)
        return arrays, shapes


def unreadable(where: str, why: str) -> InferbenchError:
    """Return the error for an answer that does not say what it must (IB-386)."""
    return InferbenchError(
        "IB-386", f"{where} answered, and {why}", "Is the model the one that was asked for?"
    )


def _in_memory(region: Region) -> dict[str, Any]:
    return {
        "shared_memory_region": region.name,
        "shared_memory_offset": region.offset,
        "shared_memory_byte_size": region.size,
    }
