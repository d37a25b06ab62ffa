"""What came of load: takes counts and latencies, gives figures. Pure; JSON both ways.

Results of several processes or hosts are merged before anything is computed from them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.histogram import Histogram, merged
from pytest_inferbench.load.histogram import of_json as histogram_of_json

FORMAT = 1


@dataclass(frozen=True)
class LoadResult:
    """One stretch of load on one server.

    Attributes:
        protocol: How tensors travelled: `grpc`, `http`, `http-json`, `grpc-shm`, ...
        clients: How many asked at once, or might have.
        seconds: How long was measured.
        requests: Requests that were answered well.
        failures: Reason -> requests that were not.
        histogram: Latencies of the good answers; in an open loop since they were due.
        rate_per_s: Open loop: how many were due a second. None: a closed loop.
        late: Requests of an open loop that were sent later than allowed after they were due.
        sent_bytes: All that was sent for the good answers, HTTP's or gRPC's framing included.
        received_bytes: All that came back for them.
        client_cpu_s: CPU time of the processes that made the load.
        processes: How many there were.
    """

    protocol: str
    clients: int
    seconds: float
    requests: int
    failures: Mapping[str, int] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)
    rate_per_s: float | None = None
    late: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    client_cpu_s: float = 0.0
    processes: int = 1

    @property
    def failed(self) -> int:
        """Requests that were not answered well."""
        return sum(self.failures.values())

    @property
    def failure_ratio(self) -> float:
        """The share of requests that failed; 0 of none."""
        return self.failed / (self.failed + self.requests) if self.failed else 0.0

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return self.requests / self.seconds if self.seconds else math.nan

    @property
    def mean_ms(self) -> float:
        """The mean latency."""
        return self.histogram.mean_ms

    @property
    def sd_ms(self) -> float:
        """The standard deviation of the latencies."""
        return self.histogram.sd_ms

    @property
    def p50_ms(self) -> float:
        """The median latency."""
        return self.histogram.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        """The 90th percentile."""
        return self.histogram.percentile_ms(90)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile."""
        return self.histogram.percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return self.histogram.percentile_ms(99)

    @property
    def sent_bytes_each(self) -> float:
        """Bytes sent a request."""
        return self.sent_bytes / self.requests if self.requests else math.nan

    @property
    def received_bytes_each(self) -> float:
        """Bytes received a request."""
        return self.received_bytes / self.requests if self.requests else math.nan

    @property
    def client_cpu_ms_each(self) -> float:
        """CPU time of the client a request."""
        return self.client_cpu_s * 1e3 / self.requests if self.requests else math.nan

    def figure(self, name: str) -> float:
        """Return a figure as objectives name it: `per_s`, `mean`, `p50`, ..., `failures`."""
        if name == "per_s":
            return self.per_s
        if name == "failures":
            return self.failure_ratio
        value: float = getattr(self, f"{name}_ms")
        return value

    def as_json(self) -> dict[str, Any]:
        """Return it as plain types; `of_json` reads them."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "failures": dict(self.failures),
            "histogram": self.histogram.as_json(),
        }


_PLAIN = (
    "protocol",
    "clients",
    "seconds",
    "requests",
    "rate_per_s",
    "late",
    "sent_bytes",
    "received_bytes",
    "client_cpu_s",
    "processes",
)


def of_json(written: Mapping[str, Any]) -> LoadResult:
    """Read what `as_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is nothing of the kind.
    """
    return LoadResult(
        **{name: written[name] for name in _PLAIN},
        failures={str(reason): int(count) for reason, count in written["failures"].items()},
        histogram=histogram_of_json(written["histogram"]),
    )


def together(parts: Sequence[LoadResult]) -> LoadResult:
    """Return what several processes did at the same time as one result.

    They begin and end by their own clocks: its seconds are such that its rate is the sum of theirs.

    Raises:
        ValueError: There is none.
    """
    if not parts:
        raise ValueError("there is no part of a result")
    failures: Counter[str] = Counter()
    for part in parts:
        failures.update(part.failures)
    requests, per_s = sum(part.requests for part in parts), _summed_per_s(parts)
    mean_s = sum(part.seconds for part in parts) / len(parts)
    rates = [part.rate_per_s for part in parts if part.rate_per_s is not None]
    return LoadResult(
        protocol=parts[0].protocol,
        clients=sum(part.clients for part in parts),
        seconds=requests / per_s if per_s else mean_s,
        requests=requests,
        failures=dict(failures),
        histogram=merged(part.histogram for part in parts),
        rate_per_s=sum(rates) if rates else None,
        late=sum(part.late for part in parts),
        sent_bytes=sum(part.sent_bytes for part in parts),
        received_bytes=sum(part.received_bytes for part in parts),
        client_cpu_s=sum(part.client_cpu_s for part in parts),
        processes=sum(part.processes for part in parts),
    )


def _summed_per_s(parts: Sequence[LoadResult]) -> float:
    return sum(part.per_s for part in parts if part.requests and part.seconds)


def to_text(
    results: Sequence[LoadResult], faults: Sequence[str] = (), missed: Sequence[str] = ()
) -> str:
    """Write results for a file.

    Args:
        results: What was measured.
        faults: Why it is not what was asked for.
        missed: What else was wrong: in it, or held against what was wanted of it.
    """
    written = [each.as_json() for each in results]
    return json.dumps(
        {"format": FORMAT, "faults": list(faults), "missed": list(missed), "results": written}
    )


def from_text(text: str, where: str) -> tuple[list[LoadResult], list[str]]:
    """Read results from a file's text, and why they are not what was asked for.

    Raises:
        InferbenchError: They are none (IB-836).
    """
    try:
        written = json.loads(text)
        if written["format"] != FORMAT:
            raise ValueError(f"it has format {written['format']!r}, not {FORMAT}")
        faults = [str(each) for each in written["faults"]]
        return [of_json(each) for each in written["results"]], faults
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InferbenchError(
            "IB-836", f"{where} holds no results of load: {error!r:.200}"
        ) from None
