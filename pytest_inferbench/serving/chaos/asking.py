"""Requests whose right answer is known: takes examples and an address, gives checked replies.

One request at a time over one connection of HTTP/1.1, in KServe's protocol with tensors as raw
bytes. Made of the standard library and numpy, so that what is seen is the server's doing.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.exam import off_by, relative_error
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.chaos.seen import NO_ANSWER, Reply
from pytest_inferbench.serving.datatypes import NUMPY, PROTOCOL

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

_HEADER_LENGTH = "Inference-Header-Content-Length"
_SHOWN = 160


@dataclass(frozen=True)
class Example:
    """Inputs with the outputs that are right for them."""

    inputs: Tensors
    outputs: Tensors


@dataclass(frozen=True)
class Body:
    """A request as it is sent.

    Attributes:
        header: The JSON before the tensors.
        tensors: The inputs' bytes, one after the other.
    """

    header: bytes
    tensors: bytes

    @property
    def content(self) -> bytes:
        """All of it."""
        return self.header + self.tensors

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP is told of it."""
        return {
            "Content-Type": "application/octet-stream",
            _HEADER_LENGTH: str(len(self.header)),
        }


def body_of(inputs: Tensors, outputs: Sequence[str]) -> Body:
    """Return a request for some outputs, all tensors as bytes.

    Raises:
        NotAsked: An input is of a type that has no bytes of fixed size, such as text.
    """
    described, parts = [], []
    for name, array in inputs.items():
        content = np.ascontiguousarray(array).tobytes()
        described.append(
            {
                "name": name,
                "datatype": datatype_of(name, array),
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(content)},
            }
        )
        parts.append(content)
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    header = json.dumps({"inputs": described, "outputs": wanted}).encode()
    return Body(header, b"".join(parts))


def datatype_of(name: str, array: Array) -> str:
    """Return KServe's name of an array's type."""
    if array.dtype.name not in PROTOCOL or array.dtype.kind in "OUS":
        raise NotAsked(f"input {name} is {array.dtype}, which is not sent as it stands")
    return PROTOCOL[array.dtype.name]


def read_answer(content: bytes, header_length: int) -> dict[str, Array]:
    """Return the outputs of an answer.

    Raises:
        ValueError: It is not one.
        KeyError: Something is missing in it.
    """
    outputs: dict[str, Array] = {}
    offset = header_length
    for each in json.loads(content[:header_length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        flat = np.frombuffer(content[offset : offset + size], NUMPY[each["datatype"]])
        outputs[each["name"]] = flat.reshape(each["shape"])
        offset += size
    return outputs


def exchange_once(
    connection: http.client.HTTPConnection, model: str, body: Body
) -> dict[str, Array]:
    """Return the outputs that a server gives for a request.

    Raises:
        InferbenchError: It does not answer, or not with outputs (IB-882).
    """
    why = ""
    try:
        connection.request("POST", path_of(model), body.content, body.headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 200:
            return read_answer(content, int(answer.headers.get(_HEADER_LENGTH, "")))
        why = f"status {answer.status}: {content[:_SHOWN].decode(errors='replace')}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise InferbenchError(
        "IB-882",
        f"the server does not answer while nothing else goes on: {why}",
        "What it withstands can be asked once it serves: run the other suites on this cell first.",
    )


def path_of(model: str) -> str:
    """Return where a model is asked."""
    return f"/v2/models/{quote(model)}/infer"


class Asker:
    """Asks for examples over one connection, and checks what comes.

    Args:
        address: "host:port".
        model: Its name.
        examples: What is asked for; each request is one of them.
        tolerance: How far an output may be off, relative to its values, by rounding alone.
        timeout_s: How long an answer is waited for.
    """

    def __init__(
        self,
        address: str,
        model: str,
        examples: Sequence[Example],
        tolerance: float,
        timeout_s: float = 10.0,
    ) -> None:
        self.address, self.timeout_s = address, timeout_s
        self.path = path_of(model)
        self.examples, self._tolerance = examples, tolerance
        self.bodies = [body_of(each.inputs, list(each.outputs)) for each in examples]
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def another(self) -> Asker:
        """Return one for another thread, with the same bodies."""
        twin = object.__new__(Asker)
        twin.__dict__.update(self.__dict__, _connection=None)
        return twin

    def connect(self) -> str:
        """Open the connection before it is needed; return why that failed, or nothing."""
        connection = http.client.HTTPConnection(self.address, timeout=self.timeout_s)
        try:
            connection.connect()
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        self._connection = connection
        return ""

    def ask(self, number: int) -> Reply:
        """Ask for an example, by its number modulo how many there are."""
        number %= len(self.examples)
        body = self.bodies[number]
        started_s = time.monotonic()
        try:
            status, headers, content = self._exchange(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            said = f"{type(error).__name__}: {error}"[:_SHOWN]
            return Reply(started_s, time.monotonic(), NO_ANSWER, said=said)
        ended_s = time.monotonic()
        if status != 200:
            said = content[:_SHOWN].decode(errors="replace")
            return Reply(started_s, ended_s, status, said=said)
        return Reply(started_s, ended_s, 200, wrong=self.check(number, headers, content))

    def check(self, number: int, headers: Mapping[str, str], content: bytes) -> str:
        """Return how an answer differs from the right one; empty if it does not."""
        try:
            told = {name.lower(): value for name, value in headers.items()}
            outputs = read_answer(content, int(told.get(_HEADER_LENGTH.lower(), "")))
        except (ValueError, KeyError, TypeError) as error:
            return f"it cannot be read: {type(error).__name__}: {error}"
        for name, want in self.examples[number].outputs.items():
            have = outputs.get(name)
            if have is None:
                return f"{name} is missing"
            if have.shape != want.shape:
                return f"{name} has shape {list(have.shape)}, not {list(want.shape)}"
            if (off := relative_error(want, have)) > self._tolerance:
                return f"{name} {off_by(off)}" + self._whose(number, outputs)
        return ""

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, body: Body) -> tuple[int, Mapping[str, str], bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.address, timeout=self.timeout_s)
        self._connection.request("POST", self.path, body.content, body.headers)
        answer = self._connection.getresponse()
        return answer.status, dict(answer.headers.items()), answer.read()

    def _whose(self, number: int, outputs: Tensors) -> str:
        """Say so where an answer is that of another request."""
        for other, example in enumerate(self.examples):
            if other != number and all(
                outputs[name].shape == want.shape
                and relative_error(want, outputs[name]) <= self._tolerance
                for name, want in example.outputs.items()
                if name in outputs
            ):
                return f"; it is the answer to request {other}, not to {number}"
        return ""
