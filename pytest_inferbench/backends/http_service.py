"""Any HTTP service: takes its URL and options, gives outputs and where the time went; no budget.

What a service runs at is what it says: a precision is declared, not enforced, and refused where the
service contradicts it. Formats are in docs/http-service.md, and made and read by `http_payloads`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_inferbench.backends import http_payloads as payloads
from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.backends.http_connection import Connections
from pytest_inferbench.backends.http_greeting import bad_status, greet, signature_of
from pytest_inferbench.backends.http_options import read_options
from pytest_inferbench.backends.http_tensors import UnreadableError, as_text
from pytest_inferbench.backends.http_timings import Call, Timings, server_share
from pytest_inferbench.errors import InferbenchError

_FACTS = ("provider", "device", "precision", "model")


class HttpService(Backend):
    """A service reached by URL; its connections are kept alive and shared by all threads."""

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        self._options = chosen = read_options(artifact, options)
        self._timings = Timings()
        self._connections = Connections(
            chosen.url,
            timeout_s=chosen.timeout_s,
            limit_bytes=chosen.limit_bytes,
            tls=chosen.tls(),
        )
        try:
            self._told = greet(self._connections, chosen, precision)
            return signature_of(chosen, self._told)
        except BaseException:
            self._connections.close()
            raise

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        started = time.perf_counter()
        body = self._body(inputs)
        return self._run(inputs, body, (time.perf_counter() - started) * 1e3)

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        if not self._options.prepared:
            return lambda: self._infer(inputs)
        body = self._body(inputs)
        return lambda: self._run(inputs, body, 0.0)

    def _close(self) -> None:
        self._connections.close()

    def _describe(self) -> Mapping[str, Any]:
        chosen = self._options
        told = {name: self._told[name] for name in _FACTS if isinstance(self._told.get(name), str)}
        return {
            "device": "remote",
            **told,
            "url": chosen.url.geturl(),
            "style": chosen.style,
            "encoding": chosen.encoding,
            "prepared": chosen.prepared,
            **({"certificate": "not checked"} if chosen.verify is False else {}),
            **self._timings.as_fields(),
        }

    def _body(self, inputs: dict[str, Array]) -> payloads.Body:
        chosen = self._options
        inputs = {name: as_text(name, array) for name, array in inputs.items()}
        if chosen.style == "openai":
            return payloads.openai_body(inputs, chosen.model, chosen.encoding_format)
        if chosen.encoding == "image":
            return payloads.image_body(inputs, chosen.image)
        return payloads.tensor_body(inputs, chosen.encoding, chosen.style)

    def _run(
        self, inputs: dict[str, Array], body: payloads.Body, serialize_ms: float
    ) -> dict[str, Array]:
        chosen = self._options
        headers = {**body.headers, **chosen.headers}
        answer = self._connections.ask("POST", chosen.target, headers, body.content)
        answered = time.perf_counter()
        where = f"POST {chosen.url.geturl()}"
        if answer.status != 200:
            raise bad_status(where, answer)
        rows = payloads.rows_of(next(iter(inputs.values()))) if chosen.style == "openai" else 0
        try:
            reading = payloads.read_answer(
                answer.content, answer.headers, self.outputs, chosen.style, rows
            )
        except UnreadableError as error:
            raise InferbenchError(
                "IB-386",
                f"{where} answered 200, and {error}",
                f"It begins: {answer.head!r}. docs/http-service.md has the formats.",
            ) from error
        deserialize_ms = (time.perf_counter() - answered) * 1e3
        shares = server_share(answer.headers.get("Server-Timing"), reading.server_ms)
        sizes = len(body.content), len(answer.content)
        self._timings.add(Call(serialize_ms, answer.wire_ms, deserialize_ms, *shares, *sizes))
        return reading.arrays
