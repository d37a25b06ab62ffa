"""Reads what a running Triton tells of itself: takes its addresses, gives counts and gauges.

Knows no budget and makes no load.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.control import Control, HttpControl
from pytest_inferbench.serving.exposition import Told, snapshot_of, told_of
from pytest_inferbench.serving.split import Snapshot

_TIMEOUT_S = 5.0
_EVERY_S = 0.5
"""How often gauges are read under load: a reading costs the server about a millisecond."""

_MOST = ("gpu_memory_mib", "pending")  # of these the most is told, of others the mean


@dataclass
class Watched:
    """What a server's metrics showed while it was watched.

    Attributes:
        seen: Gauge -> every reading.
        last: What they said at the end; None where they cannot be had.
    """

    seen: dict[str, list[float]] = field(default_factory=dict)
    last: Told | None = None

    def take(self, told: Told) -> None:
        """Add a reading."""
        self.last = told
        waiting = {} if told.pending is None else {"pending": float(told.pending)}
        for name, value in {**told.gauges, **waiting}.items():
            self.seen.setdefault(name, []).append(value)

    def figures(self) -> dict[str, float]:
        """Return the mean of every gauge, of memory and waiting requests the most."""
        return {
            name: max(values) if name in _MOST else sum(values) / len(values)
            for name, values in self.seen.items()
        }


class Observer:
    """Asks one server about one model."""

    def __init__(self, addresses: Mapping[str, str], model: str) -> None:
        """Connect.

        Args:
            addresses: "http" (a URL), or "grpc" ("host:port"), and "metrics" (a URL) where known.
            model: The model's name in the server.
        """
        self._model, self._metrics_url = model, addresses.get("metrics", "")
        self._control = _control(addresses)

    def snapshot(self) -> Snapshot:
        """Return what the server has counted so far.

        Raises:
            InferbenchError: It does not tell (IB-852).
        """
        try:
            return snapshot_of(self._control.statistics(self._model))
        except (InferbenchError, LookupError, TypeError, ValueError) as error:
            said = error.message if isinstance(error, InferbenchError) else repr(error)
            raise InferbenchError(
                "IB-852",
                f"the server does not tell the statistics of {self._model!r}: {said}",
                "Where a request's time went is read from Triton's statistics extension.",
            ) from error

    def told(self) -> Told | None:
        """Return what the server's metrics say now; None where they cannot be had."""
        if not self._metrics_url:
            return None
        try:
            text = HttpControl(self._metrics_url, _TIMEOUT_S).metrics(self._metrics_url)
        except (InferbenchError, UnicodeDecodeError):
            return None
        return told_of(text, self._model)

    def watch(self) -> Watch:
        """Return what reads the metrics again and again, from entering to leaving."""
        return Watch(self)

    def close(self) -> None:
        """Close the connections."""
        self._control.close()


class Watch:
    """Reads a server's metrics in a thread of its own."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._watched = Watched()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inferbench-metrics", daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self._watched

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if (told := self._observer.told()) is not None:
            if self._watched.seen:
                self._watched.last = told  # idle again: its gauges are not those under load
            else:
                self._watched.take(told)

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            if (told := self._observer.told()) is None:
                return
            self._watched.take(told)


def _control(addresses: Mapping[str, str]) -> Control:
    if "http" in addresses:
        return HttpControl(addresses["http"], _TIMEOUT_S)
    from pytest_inferbench.serving.control_grpc import GrpcControl

    return GrpcControl(addresses["grpc"], _TIMEOUT_S)
