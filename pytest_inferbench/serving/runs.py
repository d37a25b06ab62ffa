"""Load on a cell's server: takes a cell's run, what its worker told and a number of clients.

Gives one `LoadRun` for each fresh worker with its fresh server, or bursts of load on one that is
open. Knows neither budgets nor baselines; load itself is made by `load/`.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.launches import pinned_to, watched, why_set_aside
from pytest_inferbench.serving.split import WentBackError, split
from pytest_inferbench.serving.statistics import Observer

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.load.plan import LoadPlan
    from pytest_inferbench.load.result import LoadResult
    from pytest_inferbench.serving.split import Snapshot
    from pytest_inferbench.serving.statistics import Watched
    from pytest_inferbench.tasks.base import Sample

LATENCIES = ("mean", "sd", "p50", "p90", "p95", "p99")
"""What is told of the time that clients wait."""

MOST_SAMPLES = 16
"""Different requests of a load: enough that no cache holds the answers, few enough to be held."""

_NO_SUMMARIES = "it offers no percentiles of its queue (summary_latencies)"
_OTHERS_MINUTE = (
    "its percentiles are of about its last minute, in which others may have asked, for it was not"
    " started here"
)
_QUEUE_QUANTILE = 0.95

_MORE_THAN_OURS = 1.1
_UNMEASURED_S = 0.5
"""How long clients ask beyond warm-up and measurement: until all are there, and stopped."""


@dataclass(frozen=True)
class Burst:
    """What one stretch of load showed.

    Attributes:
        per_s: Good answers a second.
        latency_ms: Each of `LATENCIES`.
        requests: Requests that were made, failed ones included.
        failures: Reason -> how many failed for it.
        split_ms: The parts of a request's mean time; see `split.PARTS`.
        queue_ms: "mean" of the time in the server's queue, and "p95" where it tells.
        untold: Metric -> why there is no figure.
        server: What else the server told: its batches, cache, devices.
        client_cpu_ms: CPU time of the client a request.
        bytes_out: Bytes sent a request; `bytes_in` those that came back.
        strangers: What is to be said of requests in the split that are not ours; else empty.
    """

    per_s: float
    latency_ms: Mapping[str, float]
    requests: int
    failures: Mapping[str, int]
    split_ms: Mapping[str, float]
    queue_ms: Mapping[str, float]
    untold: Mapping[str, str]
    server: Mapping[str, float]
    client_cpu_ms: float
    bytes_out: float
    bytes_in: float
    strangers: str = ""

    def has(self, metric: str) -> bool:
        """Whether there is a figure of a metric as budgets name it."""
        return metric == "load_throughput" or self._name(metric) in self._table(metric)

    def figure(self, metric: str) -> float:
        """Return the figure of a metric as budgets name it.

        Raises:
            KeyError: The server does not tell it.
        """
        if metric == "load_throughput":
            return self.per_s
        return self._table(metric)[self._name(metric)]

    def _table(self, metric: str) -> Mapping[str, float]:
        return self.queue_ms if metric.startswith("queue_") else self.latency_ms

    @staticmethod
    def _name(metric: str) -> str:
        return metric.partition("_")[2]


@dataclass(frozen=True)
class LoadRun(Burst):
    """What one fresh worker's server showed under load.

    Attributes:
        probe_ms: The machine's own speed beside it.
        versions: What ran, by distribution.
        pinned: The CPUs that it was kept to, where the settings pin it.
        set_aside: Why the run does not count; empty when it does.
    """

    probe_ms: float = 1.0
    versions: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""
    set_aside: str = ""


class Loaded:
    """A server that is open in a worker, and the load that is made on it.

    Attributes:
        plan: The load.
        sent: Which of the model's samples are sent.
    """

    def __init__(
        self,
        run: CellRun,
        ran: Mapping[str, Any],
        clients: int,
        sent: Sequence[int] | None = None,
    ) -> None:
        """Prepare the load.

        Args:
            run: The cell's run: its data are what clients send.
            ran: What the worker told when it opened the cell: where its server is.
            clients: How many ask at once.
            sent: Which of the model's samples they send, all of one shape; by default the first.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="inferbench-load-")
        self.sent = alike(run.inputs, MOST_SAMPLES) if sent is None else sent
        inputs = self.save("inputs", [run.inputs[index] for index in self.sent])
        self.plan = plan_for(ran, clients, inputs).replace(samples=len(self.sent))
        self.observer = Observer(ran["addresses"], ran["model"])
        self._is_owned = ran.get("pid") is not None

    def save(self, name: str, samples: Sequence[Sample]) -> Path:
        """Write samples where the load's process finds them, as long as this is open."""
        return save_samples(Path(self._folder.name, f"{name}.npz"), samples)

    def answers(self, expected: Path, tolerance: float, seconds: float) -> LoadResult:
        """Make load for a while, every answer compared with the one to the client's own data.

        Args:
            expected: The answers to what is sent, as `save` wrote them.
            tolerance: How far one may be off, as a share of the largest value.
            seconds: For how long.

        Raises:
            InferbenchError: No load can be made.
        """
        from pytest_inferbench.load.running import run_load

        plan = self.plan.replace(
            verify=True, expected=expected, tolerance=tolerance, seconds=seconds, warmup_s=0.0
        )
        # whoever has to wait for all the others of a slow model was not forgotten
        return run_load(plan.replace(request_timeout_s=max(plan.request_timeout_s, seconds)))

    def burst(self, seconds: float, warmup_s: float = 0.0) -> Burst:
        """Make load for a while.

        Args:
            seconds: How long is measured.
            warmup_s: For how long before.

        Raises:
            InferbenchError: No request was answered (IB-851), the server does not tell its
                statistics (IB-852) or was restarted meanwhile (IB-853), or no load can be made.
        """
        from pytest_inferbench.load.running import run_load

        plan = self.plan.replace(seconds=seconds, warmup_s=warmup_s)
        before = self.observer.snapshot()
        with self.observer.watch() as seen:
            result = run_load(plan)
        try:
            served = self.observer.snapshot().since(before)
        except WentBackError as error:
            raise InferbenchError(
                "IB-853",
                f"the server lost its counts under load: {error}",
                "It was restarted, or its model was loaded again: its log says why.",
            ) from error
        burst = _burst(result, served, _queue(served, seen, self._is_owned), seen)
        said = "" if self._is_owned else strangers(plan, result, served.requests)
        return dataclasses.replace(burst, strangers=said)

    def close(self) -> None:
        """Forget the server, and what was prepared."""
        self.observer.close()
        self._folder.cleanup()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_once(run: CellRun, open_fields: dict[str, Any], clients: int) -> LoadRun:
    """Measure one fresh worker's server under load.

    Raises:
        InferbenchError: The cell does not open, or no load can be made on it.
    """
    from pytest_inferbench.measure.machine import CpuWatch, probe_ms

    serving, latency = run.gate.settings.serving, run.gate.settings.latency
    with run.new_worker() as worker:
        worker.call("watch", watched(run.cell, open_fields["options"]))
        opened = worker.call("open", open_fields, on_wait=run.waiting("open")).fields
        worker.call("infer", {}, run.inputs[0], on_wait=run.waiting("first inference"))
        with Loaded(run, opened["ran"], clients) as loaded:
            probes_ms = [probe_ms()]
            cpu = CpuWatch()  # server and clients are below this process, and no strangers
            worker.call("guard", {"begin": True})
            burst = loaded.burst(serving.run_s, serving.warmup_s)
            guarded = worker.call("guard", {"begin": False}).fields
            shares = cpu.shares()
            probes_ms.append(probe_ms())
    seen = {
        **guarded,
        "steal_share": shares.steal,
        "other_share": shares.other,
        "probes_ms": probes_ms,
    }
    return LoadRun(
        **vars(burst),
        probe_ms=min(probes_ms),
        versions=opened["versions"],
        pinned=pinned_to(latency, opened),
        set_aside=why_set_aside(latency, seen, run.cell.device),
    )


def plan_for(ran: Mapping[str, Any], clients: int, inputs: Path) -> LoadPlan:
    """Return the load that a variant's own protocol makes.

    Raises:
        InferbenchError: No load can be made through that protocol (IB-854).
    """
    from pytest_inferbench.load.plan import LoadPlan

    protocol, addresses = ran["protocol"], ran["addresses"]
    if protocol == "cuda-shm":
        raise InferbenchError(
            "IB-854",
            "no load is made through a GPU's shared memory",
            'Measure it by one caller (`-m latency`), or set protocol = "grpc-shm".',
        )
    over_grpc = protocol.startswith("grpc") or "http" not in addresses
    return LoadPlan(
        url=f"grpc://{addresses['grpc']}" if over_grpc else addresses["http"],
        model=ran["model"],
        clients=clients,
        encoding="json" if protocol == "http-json" else "binary",
        shared_memory=protocol.endswith("-shm"),
        inputs=inputs,
    )


def alike(samples: Sequence[Sample], most: int | None = None) -> list[int]:
    """Return which samples have the shapes of the first one, at most so many of them.

    Requests of a load are alike: those of another shape are left out.
    """
    first = shapes_of(samples[0])
    found = (i for i, sample in enumerate(samples) if shapes_of(sample) == first)
    return list(itertools.islice(found, most))


def shapes_of(sample: Sample) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array."""
    return {name: array.shape for name, array in sample.items()}


def save_samples(path: Path, samples: Sequence[Sample]) -> Path:
    """Write samples of one shape for a load's process, one behind the other."""
    import numpy as np

    stacked: dict[str, Any] = {
        name: np.stack([each[name] for each in samples]) for name in samples[0]
    }
    np.savez(path, **stacked)
    return path


def strangers(plan: LoadPlan, result: LoadResult, served: int) -> str:
    """Say so where a server answered many more requests than were asked here, warm-up included.

    Args:
        plan: The load.
        result: What came of it; its warm-up is taken to have been as fast.
        served: What the server counted meanwhile.
    """
    asked = result.requests + result.failed
    whole_s = result.seconds + plan.warmup_s + _UNMEASURED_S
    ours = asked * whole_s / result.seconds + 2 * plan.clients + plan.samples
    if served <= _MORE_THAN_OURS * ours:
        return ""
    return (
        f"others ask this server too: it answered {served} requests, of which about {ours:.0f} were"
        " asked here; where the time went holds theirs"
    )


def _burst(
    result: LoadResult,
    served: Snapshot,
    queue: tuple[Mapping[str, float], Mapping[str, str]],
    seen: Watched,
) -> Burst:
    if not result.requests:
        reasons = ", ".join(f"{count} of {reason}" for reason, count in result.failures.items())
        raise InferbenchError(
            "IB-851",
            f"no request of {result.clients} clients was answered: {reasons or 'none was made'}",
            "The server's log says what it thought of them.",
        )
    queue_ms, untold = queue
    return Burst(
        per_s=result.per_s,
        latency_ms={name: result.figure(name) for name in LATENCIES},
        requests=result.requests + result.failed,
        failures=dict(result.failures),
        split_ms=split(result.mean_ms, served),
        queue_ms=queue_ms,
        untold=untold,
        server={
            "batch_mean": served.batch_mean,
            "executions": float(served.executions),
            "cache_hits": float(served.cache_hits),
            "failures": float(served.failures),
            **seen.figures(),
        },
        client_cpu_ms=result.client_cpu_ms_each,
        bytes_out=result.sent_bytes_each,
        bytes_in=result.received_bytes_each,
    )


def _queue(
    served: Snapshot, seen: Watched, is_owned: bool
) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Return the time in the server's queue, and why its percentile is not told."""
    mean = {"mean": served.queue_ms}
    if not is_owned:
        return mean, {"queue_p95": _OTHERS_MINUTE}
    quantiles = seen.last.queue_ms if seen.last is not None else {}
    if _QUEUE_QUANTILE not in quantiles:
        return mean, {"queue_p95": _NO_SUMMARIES}
    return {**mean, "p95": quantiles[_QUEUE_QUANTILE]}, {}
