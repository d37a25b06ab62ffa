"""Where a request's time went: takes what a server had counted before and after, gives the split.

Pure: knows neither servers nor how their counts are read. Times of a request add up, so all of them
are means over the requests that were answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

PARTS = ("network", "queue", "input", "infer", "output", "other")
"""What a request's time is made of, in the order that it passes through them; `network` is what the
client saw beyond the server's own time, serialization on both sides included, and `other` what the
server spent on a request beyond the parts that it tells."""

# Parts that explain less of a change than this are not named.
_EXPLAINED = 0.8


class WentBackError(ValueError):
    """A count is lower than it was: the server was restarted, or its model reloaded."""


@dataclass(frozen=True)
class Snapshot:
    """What a server has counted of one model up to a moment.

    Attributes:
        requests: Requests that it answered.
        request_ns: The time of all of them inside the server.
        queue_ns: Of that, in the queue; and so on.
        inferences: Inferences made; a request may ask for several.
        executions: Batches that ran.
        failures: Requests that failed.
    """

    requests: int = 0
    request_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    cache_hits: int = 0
    inferences: int = 0
    executions: int = 0
    failures: int = 0

    def since(self, before: Snapshot) -> Snapshot:
        """Return what was counted since another moment.

        Raises:
            WentBackError: Something was counted less than then.
        """
        names = [each.name for each in fields(self)]
        return Snapshot(
            **{
                name: _difference(name, getattr(before, name), getattr(self, name))
                for name in names
            }
        )

    @property
    def request_ms(self) -> float:
        """The mean time of a request inside the server."""
        return self._mean_ms(self.request_ns)

    @property
    def queue_ms(self) -> float:
        """The mean time of a request in the queue."""
        return self._mean_ms(self.queue_ns)

    @property
    def batch_mean(self) -> float:
        """The mean number of inferences in a batch; 0 where nothing ran."""
        return self.inferences / self.executions if self.executions else 0.0

    def _mean_ms(self, ns: int) -> float:
        return ns / self.requests / 1e6 if self.requests else 0.0


def split(client_ms: float, served: Snapshot) -> dict[str, float]:
    """Return each of `PARTS` of the mean time that a client saw, in milliseconds.

    They add up to it. Where the server's mean is the longer one, as it can be when it has counted
    requests that the client has not, nothing is left for the network, and they add up to that.

    Args:
        client_ms: The mean time of the requests at the client.
        served: What the server counted meanwhile.
    """
    count = served.requests
    if not count:
        return {**dict.fromkeys(PARTS, 0.0), "network": client_ms}
    named = {
        "queue": served.queue_ns / count / 1e6,
        "input": served.input_ns / count / 1e6,
        "infer": served.infer_ns / count / 1e6,
        "output": served.output_ns / count / 1e6,
    }
    told_ms = sum(named.values())
    server_ms = max(served.request_ms, told_ms)
    return {
        "network": max(0.0, client_ms - server_ms),
        **named,
        "other": server_ms - told_ms,
    }


def moved(then: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Say which parts of the time explain how much longer a request takes; empty if it does not.

    Args:
        then: Each of `PARTS` before, in milliseconds.
        now: Each of them now.
    """
    total_ms = sum(now.values()) - sum(then.values())
    if total_ms <= 0:
        return ""
    by_part = {part: now.get(part, 0.0) - then.get(part, 0.0) for part in PARTS}
    named: dict[str, float] = {}
    for part, more_ms in sorted(by_part.items(), key=lambda item: -item[1]):
        if more_ms <= 0 or sum(named.values()) >= _EXPLAINED * total_ms:
            break
        named[part] = more_ms
    said = " and ".join(f"{part} {_ms(more_ms)}" for part, more_ms in named.items())
    return f"{said} of {_ms(total_ms)}"


def _ms(ms: float) -> str:
    """Return a difference with its sign, at three digits."""
    return f"{ms:+.0f} ms" if abs(ms) >= 100 else f"{ms:+.3g} ms"


def _difference(name: str, before: int, after: int) -> int:
    if after < before:
        raise WentBackError(f"{name.removesuffix('_ns')} went back from {before} to {after}")
    return after - before
