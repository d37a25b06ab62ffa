"""One way to serve a model: takes plain fields, gives them checked and frozen, and back.

A variant says what stands in a model's configuration, on which device, and how clients talk to it.
Pure: knows neither files nor servers nor settings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.spelling import nearest

RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "python")
DEVICES = ("cpu", "gpu")
ACCELERATORS = ("", "tensorrt", "openvino")
TIMEOUT_ACTIONS = ("reject", "delay")
PROTOCOLS = ("http", "http-json", "grpc", "http-shm", "grpc-shm", "cuda-shm")
"""``http`` carries tensors as bytes, ``http-json`` as text; ``-shm`` through memory that client and
server share; ``cuda-shm`` through memory on the GPU, over gRPC."""

OVER_GRPC = ("grpc", "grpc-shm", "cuda-shm")
DEFAULT_BATCH = 8
"""The largest batch that the server makes, where batching is on and nothing else is said."""

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "runtime": RUNTIMES,
    "device": DEVICES,
    "accelerator": ACCELERATORS,
    "timeout_action": TIMEOUT_ACTIONS,
    "protocol": PROTOCOLS,
}
_LEAST: Mapping[str, int] = {
    "instances": 1,
    "max_batch_size": 0,
    "queue_delay_us": 0,
    "max_queue_size": 0,
    "queue_timeout_us": 0,
    "response_cache_mib": 1,
}
_SWITCHES = ("batching", "cuda_graphs", "response_cache")
_TABLES = ("accelerator_parameters", "parameters")
_LISTS: Mapping[str, int] = {"gpus": 0, "preferred_batch_sizes": 1}
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PARAMETER = re.compile(r"[\w.\-]+")


@dataclass(frozen=True)
class Variant:
    """A model's configuration in a server, and how it is reached.

    Attributes:
        runtime: What runs the artifact.
        device: Where.
        instances: Copies of the model that run at once, on each GPU.
        gpus: Their indices; empty means every one that the server sees.
        max_batch_size: The largest batch of one request, or that batching makes; 0 means that
            requests are taken as they are. None: 0, or `DEFAULT_BATCH` where something needs one.
        batching: Whether the server joins requests (dynamic batching).
        preferred_batch_sizes: Batches that are run without waiting for more.
        queue_delay_us: How long a request may wait for others to be joined with.
        max_queue_size: Requests that may wait; more are refused. 0 means any number.
        queue_timeout_us: How long a request may wait at all; 0 means for ever.
        timeout_action: What becomes of one that waited longer.
        accelerator: What ONNX Runtime hands the graph to.
        accelerator_parameters: What that is told, such as ``precision_mode``.
        cuda_graphs: Whether calls are captured and replayed.
        response_cache: Whether the server keeps answers and gives them again.
        response_cache_mib: How much memory for them.
        protocol: How clients send and receive tensors.
        parameters: Free parameters of the model's configuration.
        preprocess: The path of a Python model that inputs pass first, in an ensemble.
    """

    runtime: str = "onnxruntime"
    device: str = "cpu"
    instances: int = 1
    gpus: tuple[int, ...] = ()
    max_batch_size: int | None = None
    batching: bool = False
    preferred_batch_sizes: tuple[int, ...] = ()
    queue_delay_us: int = 0
    max_queue_size: int = 0
    queue_timeout_us: int = 0
    timeout_action: str = "reject"
    accelerator: str = ""
    accelerator_parameters: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    cuda_graphs: bool = False
    response_cache: bool = False
    response_cache_mib: int = 64
    protocol: str = "http"
    parameters: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    preprocess: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Variant:
        """Return a variant of plain fields, as settings or JSON have them.

        Raises:
            InferbenchError: A field is unknown, of the wrong kind, or contradicts another (IB-800).
        """
        for key, value in fields.items():
            _check(key, value)
        kept: dict[str, Any] = {
            key: tuple(value) if key in _LISTS else _texts(value) if key in _TABLES else value
            for key, value in fields.items()
        }
        variant = cls(**kept)
        if fault := variant._contradiction():
            raise InferbenchError("IB-800", fault, "docs/triton.md has every key of a variant.")
        return variant

    def as_fields(self) -> dict[str, Any]:
        """Return what differs from the default, as plain types that `from_fields` takes."""
        plain = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != getattr(_DEFAULT, each.name)
        }
        return {
            key: list(value) if key in _LISTS else dict(value) if key in _TABLES else value
            for key, value in plain.items()
        }

    @property
    def batch_limit(self) -> int:
        """The configuration's ``max_batch_size``."""
        if self.max_batch_size is not None:
            return self.max_batch_size
        return max((DEFAULT_BATCH, *self.preferred_batch_sizes)) if self.batching else 0

    def _contradiction(self) -> str:
        """Return what cannot stand together; empty if everything can."""
        on_cpu, onnx = self.device == "cpu", self.runtime == "onnxruntime"
        most = max(self.preferred_batch_sizes, default=0)
        needs_batching = {
            "preferred_batch_sizes": bool(self.preferred_batch_sizes),
            "queue_delay_us": self.queue_delay_us > 0,
            "max_queue_size": self.max_queue_size > 0,
            "queue_timeout_us": self.queue_timeout_us > 0,
        }
        alone = next((key for key, is_set in needs_batching.items() if is_set), "")
        faults = (
            (not self.batching and alone, f"{alone} needs batching = true"),
            (self.batching and self.batch_limit < 1, "batching needs max_batch_size of at least 1"),
            (
                most > self.batch_limit,
                f"a preferred batch of {most} is larger than max_batch_size, {self.batch_limit}",
            ),
            (on_cpu and self.gpus, 'gpus need device = "gpu"'),
            (on_cpu and self.runtime == "tensorrt", 'the runtime tensorrt needs device = "gpu"'),
            (on_cpu and self.protocol == "cuda-shm", 'the protocol cuda-shm needs device = "gpu"'),
            (self.accelerator and not onnx, "an accelerator is the runtime onnxruntime's"),
            (
                self.accelerator_parameters and not self.accelerator,
                "accelerator_parameters need an accelerator",
            ),
            (self.accelerator == "tensorrt" and on_cpu, 'tensorrt needs device = "gpu"'),
            (
                self.accelerator == "openvino" and not on_cpu,
                'the accelerator openvino needs device = "cpu"',
            ),
            (
                self.cuda_graphs and "tensorrt" not in (self.runtime, self.accelerator),
                "cuda_graphs need TensorRT, as the runtime or as the accelerator",
            ),
        )
        return next((words for is_wrong, words in faults if is_wrong), "")


_DEFAULT = Variant()
KEYS = tuple(each.name for each in dataclasses.fields(Variant))


def _check(key: str, value: Any) -> None:
    """Refuse what `from_fields` cannot take.

    Raises:
        InferbenchError: IB-800.
    """
    if key not in KEYS:
        near = nearest(key, KEYS)
        raise InferbenchError(
            "IB-800",
            f"a variant has no key {key!r}" + (f"; did you mean {near!r}?" if near else ""),
            f"It has {', '.join(KEYS)}.",
        )
    wanted = _wanted(key, value)
    if wanted:
        raise InferbenchError("IB-800", f"{key} must be {wanted}, not {value!r}")


def _wanted(key: str, value: Any) -> str:  # noqa: PLR0911 - one a kind of key
    """Return what a key takes, if the value is not that; empty if it is."""
    if key in _CHOICES:
        known = _CHOICES[key]
        return "" if value in known else f"one of {', '.join(map(repr, known))}"
    if key in _SWITCHES:
        return "" if isinstance(value, bool) else "true or false"
    if key in _TABLES:
        return "" if _is_table(value) else "a table of names with texts, numbers or switches"
    if key in _LISTS:
        least = _LISTS[key]
        is_list = isinstance(value, (list, tuple)) and all(_is_count(v, least) for v in value)
        return "" if is_list and len(set(value)) == len(value) else f"a list of numbers >= {least}"
    if key == "preprocess":
        return "" if isinstance(value, str) else "a path"
    least = _LEAST[key]
    if key == "max_batch_size" and value is None:
        return ""
    return "" if _is_count(value, least) else f"a whole number of at least {least}"


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _PARAMETER.fullmatch(name) and isinstance(each, (str, int, float))
        for name, each in value.items()
    )


def _texts(table: Mapping[str, Any]) -> Mapping[str, str]:
    """Return values as a configuration has them: all are text."""
    return MappingProxyType(
        {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in table.items()
        }
    )
