"""A server's control interface: takes questions, gives plain fields or a named error.

Over HTTP by the standard library, over gRPC by tritonclient: the same questions, the same answers.
Knows no tensors and not whose server it is.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pytest_inferbench.backends.http_connection import Answer, Connections
from pytest_inferbench.errors import InferbenchError

Fields = dict[str, Any]

_LIMIT_BYTES = 64 << 20


class Control(ABC):
    """What can be asked of a server, by whatever it speaks."""

    url: str

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers and says that it is ready; unreachable is False."""

    @abstractmethod
    def is_model_ready(self, model: str) -> bool:
        """Whether it says that a model can be asked; a dead stub is not noticed by it."""

    @abstractmethod
    def metadata(self) -> Fields:
        """Return its name, version and extensions."""

    @abstractmethod
    def model_metadata(self, model: str) -> Fields:
        """Return a model's inputs and outputs, as the protocol names types and shapes."""

    @abstractmethod
    def model_config(self, model: str) -> Fields:
        """Return a model's configuration as JSON has it."""

    @abstractmethod
    def statistics(self, model: str) -> Fields:
        """Return a model's statistics so far: counts, and nanoseconds by part."""

    @abstractmethod
    def load(self, model: str, config: Mapping[str, Any] | None = None) -> None:
        """Load a model, or load it again.

        Args:
            model: Its name.
            config: A configuration to take instead of the one in its repository.

        Raises:
            InferbenchError: The server refuses (IB-808).
        """

    @abstractmethod
    def unload(self, model: str) -> None:
        """Unload a model.

        Raises:
            InferbenchError: The server refuses (IB-808).
        """

    @abstractmethod
    def register_memory(self, name: str, key: str, size: int) -> None:
        """Let the server use a segment of the system's shared memory."""

    @abstractmethod
    def register_cuda_memory(self, name: str, handle: bytes, device: int, size: int) -> None:
        """Let the server use memory of a GPU; the handle is in base64."""

    @abstractmethod
    def unregister_memory(self, name: str, *, cuda: bool = False) -> None:
        """Take shared memory back."""

    @abstractmethod
    def close(self) -> None:
        """Close its connections."""


def refused(model: str, doing: str, why: str) -> InferbenchError:
    """Return the error for a model that a server does not load or unload."""
    first = next((line for line in why.splitlines() if line.strip()), why)
    return InferbenchError(
        "IB-808",
        f"the server does not {doing} the model {model!r}: {first.strip()}",
        "Its log has the whole story.",
    )


class HttpControl(Control):
    """Over HTTP."""

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._connections = Connections(
            urlsplit(self.url), timeout_s=timeout_s, limit_bytes=_LIMIT_BYTES, tls=None
        )

    def is_ready(self) -> bool:
        """See `Control.is_ready`."""
        return self._says_yes("/v2/health/ready")

    def is_model_ready(self, model: str) -> bool:
        """See `Control.is_model_ready`."""
        return self._says_yes(f"/v2/models/{quote(model)}/ready")

    def metadata(self) -> Fields:
        """See `Control.metadata`."""
        return self._told("/v2")

    def model_metadata(self, model: str) -> Fields:
        """See `Control.model_metadata`."""
        return self._told(f"/v2/models/{quote(model)}")

    def model_config(self, model: str) -> Fields:
        """See `Control.model_config`."""
        return self._told(f"/v2/models/{quote(model)}/config")

    def statistics(self, model: str) -> Fields:
        """See `Control.statistics`."""
        found = self._told(f"/v2/models/{quote(model)}/stats")["model_stats"]
        statistics: Fields = found[0]
        return statistics

    def load(self, model: str, config: Mapping[str, Any] | None = None) -> None:
        """See `Control.load`."""
        body = {"parameters": {"config": json.dumps(dict(config))}} if config else {}
        answer = self._ask("POST", f"/v2/repository/models/{quote(model)}/load", body)
        if answer.status != 200:
            raise refused(model, "load", _said(answer))

    def unload(self, model: str) -> None:
        """See `Control.unload`."""
        answer = self._ask("POST", f"/v2/repository/models/{quote(model)}/unload", {})
        if answer.status != 200:
            raise refused(model, "unload", _said(answer))

    def register_memory(self, name: str, key: str, size: int) -> None:
        """See `Control.register_memory`."""
        body = {"key": key, "offset": 0, "byte_size": size}
        self._done(f"/v2/systemsharedmemory/region/{quote(name)}/register", body)

    def register_cuda_memory(self, name: str, handle: bytes, device: int, size: int) -> None:
        """See `Control.register_cuda_memory`."""
        raw = {"b64": handle.decode()}
        body = {"raw_handle": raw, "device_id": device, "byte_size": size}
        self._done(f"/v2/cudasharedmemory/region/{quote(name)}/register", body)

    def unregister_memory(self, name: str, *, cuda: bool = False) -> None:
        """See `Control.unregister_memory`."""
        kind = "cuda" if cuda else "system"
        self._done(f"/v2/{kind}sharedmemory/region/{quote(name)}/unregister", {})

    def metrics(self, url: str) -> str:
        """Return what the server exports for Prometheus, at the address where it does."""
        parts = urlsplit(url)
        connections = Connections(parts, timeout_s=10.0, limit_bytes=_LIMIT_BYTES, tls=None)
        try:
            return connections.ask("GET", parts.path or "/metrics", {}).content.decode()
        finally:
            connections.close()

    def close(self) -> None:
        """See `Control.close`."""
        self._connections.close()

    def _says_yes(self, path: str) -> bool:
        try:
            return self._ask("GET", path).status == 200
        except InferbenchError:
            return False

    def _told(self, path: str) -> Fields:
        answer = self._ask("GET", path)
        if answer.status != 200:
            raise bad_answer(f"GET {self.url}{path}", answer)
        try:
            fields = json.loads(answer.content)
        except ValueError as error:
            raise InferbenchError(
                "IB-386",
                f"GET {self.url}{path} did not answer with JSON: {answer.head!r}",
                "Is it a Triton server, and is this its HTTP port?",
            ) from error
        return dict(fields)

    def _done(self, path: str, body: Fields) -> None:
        answer = self._ask("POST", path, body)
        if answer.status != 200:
            raise bad_answer(f"POST {self.url}{path}", answer)

    def _ask(self, method: str, path: str, body: Fields | None = None) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        return self._connections.ask(method, path, headers, content)


def bad_answer(where: str, answer: Answer) -> InferbenchError:
    """Return the error for a status that is not 200 (IB-384), with what the server says of it."""
    return InferbenchError(
        "IB-384", f"{where} answered {answer.status}: {_said(answer)}", "See the server's log."
    )


def _said(answer: Answer) -> str:
    """Return the text of ``{"error": ...}``, or how the body begins."""
    try:
        return str(json.loads(answer.content)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.head or "nothing"
