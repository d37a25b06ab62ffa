"""What load is to be made: takes fields or an option's texts, gives one checked `LoadPlan`. Pure.

A plan is all that a process needs to make its part of the load; it travels as the options of a
locust file, so what pytest runs can be run by hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.schedule import ARRIVALS, Arrivals
from pytest_inferbench.load.wire import address_of

Service = Literal["triton", "http_service"]
Encoding = Literal["binary", "json", "base64", "raw", "image"]
_HTTP = {"binary": "http", "json": "http-json"}
ENCODINGS: Mapping[str, tuple[str, ...]] = {
    "triton": ("binary", "json"),
    "http_service": ("json", "base64", "raw", "image"),
}


@dataclass(frozen=True)
class LoadPlan:
    """Load on one server.

    Attributes:
        url: `grpc://host:port` or `http://host:port`, with the path for a plain HTTP service.
        model: The model's name; a plain HTTP service has one alone.
        service: What speaks there; also the name of the locust file.
        clients: How many ask at once; in an open loop, how many may be waiting at once.
        seconds: How long is measured, warm-up not counted.
        warmup_s: How long load is made before anything counts.
        rate_per_s: Open loop: how many requests are due a second. None: a client asks when it was
            answered.
        arrivals: How requests of an open loop follow each other.
        late_ms: A request that is sent later than this after it was due counts as late.
        encoding: How tensors travel; gRPC has one way only.
        shared_memory: Tensors lie in system shared memory, on this host.
        batch: Rows a request, where the model has a free first dimension.
        inputs: An .npz or .npy file of inputs; else they are drawn by `seed`.
        shapes: Input -> its whole shape, where the model leaves dimensions open.
        samples: Different requests a process has, at least one a client.
        seed: What inputs and Poisson arrivals are drawn from.
        verify: Check every answer against the one that its own inputs had alone.
        expected: An .npz file of outputs to check against instead, stacked as the inputs are.
        tolerance: Largest error of a checked answer, as a share of the largest expected value.
        request_timeout_s: When a request has failed.
        processes: How many processes share the clients.
    """

    url: str
    model: str = ""
    service: Service = "triton"
    clients: int = 1
    seconds: float = 2.0
    warmup_s: float = 0.5
    rate_per_s: float | None = None
    arrivals: Arrivals = "poisson"
    late_ms: float = 1.0
    encoding: str = "binary"
    shared_memory: bool = False
    batch: int = 1
    inputs: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    samples: int = 16
    seed: int = 0
    verify: bool = False
    expected: Path | None = None
    tolerance: float = 1e-3
    request_timeout_s: float = 30.0
    processes: int = 1

    def __post_init__(self) -> None:
        address = address_of(self.url)
        for fault in self._faults(address.grpc):
            raise InferbenchError("IB-831", f"no such load can be made: {fault}")

    @property
    def protocol(self) -> str:
        """How tensors travel, in a word."""
        if self.service == "http_service":
            return f"service-{self.encoding}"
        if self.shared_memory:
            return "grpc-shm" if address_of(self.url).grpc else "http-shm"
        return "grpc" if address_of(self.url).grpc else _HTTP[self.encoding]

    def _faults(self, grpc: bool) -> list[str]:
        known = ENCODINGS.get(self.service, ())
        least = {"clients": 1, "batch": 1, "samples": 1, "processes": 1, "warmup_s": 0}
        faults = [
            f"{name} is {getattr(self, name)}, below {low}"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        above = ("seconds", "request_timeout_s", "tolerance", "late_ms")
        faults += [f"{name} is not above 0" for name in above if not getattr(self, name) > 0]
        if self.rate_per_s is not None and not self.rate_per_s > 0:
            faults.append("rate_per_s is not above 0")
        if self.arrivals not in ARRIVALS:
            faults.append(f"arrivals are {' or '.join(ARRIVALS)}, not {self.arrivals!r}")
        if not known:
            faults.append(f"a service is {' or '.join(ENCODINGS)}, not {self.service!r}")
        elif self.encoding not in known:
            faults.append(f"{self.service} takes {', '.join(known)}, not {self.encoding!r}")
        if self.service == "triton" and not self.model:
            faults.append("no model is named")
        if self.service == "http_service" and (grpc or self.shared_memory):
            faults.append("a plain HTTP service has neither gRPC nor shared memory")
        if grpc and self.encoding == "json":
            faults.append("gRPC has no JSON")
        if self.processes > self.clients:
            faults.append(f"{self.processes} processes for {self.clients} clients")
        return faults

    def replace(self, **changes: object) -> LoadPlan:
        """Return the plan with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
