"""One run of a cell: a fresh worker, opened, warmed, sampled, closed.

Takes a cell's run and what to open; gives one `Launch`. Knows neither budgets nor baselines.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_inferbench.judge.validity import why_disturbed

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.settings.schema import LatencySettings
    from pytest_inferbench.worker.client import Reply

STATISTICS = ("p5", "p50", "p90", "p99", "mean")

STAGES = ("open", "first_inference", "load_from_cache", "fresh_build")
"""What a cold start is made of; the last two where the backend has a cache of what it builds."""

PARTS = ("server_ms", "network_ms")
"""What a service's latency is made of, where it tells."""

ROTATED_INPUTS = 4
"""Inputs that are taken in turn, so that no cache holds the answer."""

# Calls over which memory is watched: enough to show a leak of 100 KB a call, bounded in time.
_GROWTH_CALLS = 200
_GROWTH_BUDGET_MS = 1000.0


@dataclass(frozen=True)
class Launch:
    """What one fresh worker showed.

    Attributes:
        latency_ms: Each of `STATISTICS`.
        samples: How many timings they come from.
        cold_start_ms: From opening the artifact to the first answer.
        peak_mib: The worker's peak resident memory.
        growth_mib: Memory gained over repeated inferences after warm-up.
        watts: The device's mean power while sampling; None where it cannot be read.
        joules: Its energy an inference.
        device_mib: The most memory that the worker held on the device.
        device_growth_mib: What it gained there over the same inferences as `growth_mib`.
        missing: Why any of these is None, by the metric that it would have.
        probe_ms: The machine's own speed beside it.
        versions: What ran, by distribution.
        parts_ms: The median of each of `PARTS` that the backend tells.
        calls_per_sample: Calls that each timing is the mean of.
        stages_ms: The part of the cold start that each of `STAGES` took, those that there were.
        device_ms: Each of `STATISTICS` of the time on the device, where the backend can tell.
        pinned: The CPUs that it was kept to, where the settings pin it.
        raw_files: Where the timings themselves were kept.
        watts_over_time: Seconds since sampling began and watts, where power is polled.
        power_source: Which counters or sensors told the power.
        steal_share: The share of the CPU that the hypervisor took.
        other_share: The share of the CPU that other processes used.
        set_aside: Why the run does not count; empty when it does.
    """

    latency_ms: dict[str, float]
    samples: int
    cold_start_ms: float
    peak_mib: float
    growth_mib: float
    probe_ms: float
    versions: dict[str, str]
    parts_ms: dict[str, float] = field(default_factory=dict)
    calls_per_sample: int = 1
    stages_ms: dict[str, float] = field(default_factory=dict)
    device_ms: dict[str, float] = field(default_factory=dict)
    pinned: str = ""
    raw_files: tuple[str, ...] = ()
    watts: float | None = None
    joules: float | None = None
    device_mib: float | None = None
    device_growth_mib: float | None = None
    missing: dict[str, str] = field(default_factory=dict)
    watts_over_time: tuple[tuple[float, float], ...] = ()
    power_source: str = ""
    steal_share: float | None = None
    other_share: float | None = None
    set_aside: str = ""


def launch_once(run: CellRun, open_fields: dict[str, Any]) -> Launch:
    """Measure one fresh worker."""
    from pytest_inferbench.worker.protocol import pack_samples

    latency = run.gate.settings.latency
    rotated = pack_samples(run.inputs[:ROTATED_INPUTS])
    first = run.inputs[0]
    with run.new_worker() as worker:
        worker.call("watch", watched(run.cell, open_fields["options"]))
        opened = worker.call("open", open_fields, on_wait=run.waiting("open")).fields
        answered = worker.call("infer", {}, first, on_wait=run.waiting("first inference")).fields
        reply = worker.call(
            "sample",
            {
                "duration_s": latency.run_s,
                "warmup_floor_s": latency.warmup_floor_s,
                "warmup_ceiling_s": latency.warmup_ceiling_s,
                "packed": True,
            },
            rotated,
            timeout_s=latency.run_s
            + latency.warmup_ceiling_s
            + run.gate.settings.worker.call_timeout_s,
        )
        sampled, figures = reply.fields, reply.fields["percentiles_ms"]
        calls = int(min(_GROWTH_CALLS, max(10, _GROWTH_BUDGET_MS / figures["mean"])))
        grown = worker.call("memory", {"calls": calls}, first).fields
    aside = why_set_aside(latency, sampled, run.cell.device)
    return Launch(
        latency_ms={name: figures[name] for name in STATISTICS},
        samples=len(reply.arrays["ns"]),
        cold_start_ms=opened["open_ms"] + answered["infer_ms"],
        peak_mib=grown["peak_mib"],
        growth_mib=grown["growth_mib"],
        probe_ms=min(sampled["probes_ms"]),
        versions=opened["versions"],
        parts_ms={name: sampled["ran"][name]["p50"] for name in PARTS if name in sampled["ran"]},
        calls_per_sample=sampled["calls_per_sample"],
        stages_ms=stages_ms(opened, answered["infer_ms"]),
        device_ms=sampled["device_percentiles_ms"],
        pinned=pinned_to(latency, opened),
        watts=sampled["seen"]["watts"],
        joules=sampled["joules"],
        device_mib=grown["device_mib"],
        device_growth_mib=grown["device_growth_mib"],
        missing=_missing(sampled["seen"], grown),
        watts_over_time=tuple((at, watts) for at, watts in sampled["seen"]["watts_over_time"]),
        power_source=sampled["seen"]["power_source"],
        steal_share=sampled["steal_share"],
        other_share=sampled["other_share"],
        raw_files=keep_raw(run, reply, opened["versions"], aside),
        set_aside=aside,
    )


def stages_ms(opened: Mapping[str, Any], first_ms: float) -> dict[str, float]:
    """Return the parts of a cold start, by the names in `STAGES`.

    Args:
        opened: The worker's answer to `open`.
        first_ms: How long the first inference took.
    """
    open_ms, from_cache = opened["open_ms"], opened["from_cache"]
    stages = {"open": open_ms, "first_inference": first_ms}
    if from_cache is not None:
        stages["load_from_cache" if from_cache else "fresh_build"] = open_ms
    return stages


def pinned_to(latency: LatencySettings, opened: Mapping[str, Any]) -> str:
    """Return the CPUs that a worker is kept to, as it said when it opened; empty if it is not."""
    return ",".join(map(str, opened["affinity"])) if latency.pin else ""


def keep_raw(
    run: CellRun, reply: Reply, versions: Mapping[str, str], aside: str, **facts: Any
) -> tuple[str, ...]:
    """Write a run's timings where `--inferbench-raw` says; return the names of the files."""
    folder = run.gate.options.raw_folder
    if folder is None:
        return ()
    from pytest_inferbench.measure.raw import save

    environment = {**run.gate.environments[run.cell.environment].facts, **versions}
    told = {
        "cell": run.cell.id,
        **facts,
        **reply.fields,
        "set_aside": aside,
        "environment": environment,
    }
    return (save(folder, run.cell.id, reply.arrays["ns"], told),)


def watched(cell: Cell, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the verb `watch` is told: the kind of a cell's device, and which one of them."""
    kind = "jetson" if cell.hardware.startswith("jetson-") else cell.device
    index = options.get("device_id", options.get("device", 0))
    number = str(index).rpartition(":")[2]
    return {"device": kind, "index": int(number) if number.isdecimal() else 0}


def _missing(seen: Mapping[str, Any], grown: Mapping[str, Any]) -> dict[str, str]:
    no_power, no_memory = seen["power_missing"], grown["device_missing"]
    reasons = {"power": no_power, "energy": no_power}
    reasons |= {"device_memory": no_memory, "device_memory_growth": no_memory}
    return {metric: reason for metric, reason in reasons.items() if reason}


def why_set_aside(latency: LatencySettings, sampled: Mapping[str, Any], device: str = "cpu") -> str:
    """Return why a run does not count, from what was seen of the machine; empty when it does.

    A service on this host is no stranger to its own measurement, whatever it uses. Nor are workers
    whose pids the verb that gave `sampled` (`sample` or `guard`) was told as `ours`.
    """
    if stolen := _stolen(latency, sampled):
        return stolen
    if sampled["other_share"] > latency.most_other and device != "remote":
        return f"other processes used {sampled['other_share']:.0%} of the CPU"
    probes_ms = sampled.get("probes_ms")  # what `guard` tells has none: it is short
    change = max(probes_ms) / min(probes_ms) - 1 if probes_ms else 0.0
    if change > latency.same_speed_on(device):
        return f"the machine's own speed changed by {change:.0%} meanwhile"
    return why_disturbed(latency, sampled.get("seen", {}))


def why_slowed(latency: LatencySettings, guarded: Mapping[str, Any]) -> str:
    """Return why a round of two workers does not count; empty when it does.

    What else uses the CPU meets both alike, and so does a machine that changes its speed.
    """
    return _stolen(latency, guarded) or why_disturbed(latency, guarded["seen"])


def _stolen(latency: LatencySettings, seen: Mapping[str, Any]) -> str:
    if seen["steal_share"] <= latency.most_steal:
        return ""
    return f"the hypervisor took {seen['steal_share']:.0%} of the CPU"


class _MayBeSetAside(Protocol):
    @property
    def set_aside(self) -> str: ...


_Run = TypeVar("_Run", bound=_MayBeSetAside)


def valid(launches: Sequence[_Run]) -> list[_Run]:
    """Return the runs that count."""
    return [launch for launch in launches if not launch.set_aside]


def device_figures(launches: Sequence[Launch]) -> dict[str, float]:
    """Return what the device told beside the latency."""
    return {
        **told("watts", median_of(launches, "watts")),
        **told("joules_per_inference", median_of(launches, "joules")),
        **told("device_peak_mib", median_of(launches, "device_mib")),
    }


def told(name: str, value: float | None) -> dict[str, float]:
    """Return a figure under its name; nothing where there is none."""
    return {} if value is None else {name: value}


def median_of(launches: Sequence[Launch], attribute: str) -> float | None:
    """Return the median over the runs; None unless every run has the figure."""
    values = [getattr(launch, attribute) for launch in launches]
    return statistics.median(values) if values and None not in values else None
