"""One run of a cell: a fresh worker, opened, warmed, sampled, closed.

Takes a cell's run and what to open; gives one `Launch`. Knows neither budgets nor baselines.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.judge.validity import why_disturbed

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.settings.schema import LatencySettings

STATISTICS = ("p5", "p50", "p90", "p99", "mean")

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
    watts: float | None = None
    joules: float | None = None
    device_mib: float | None = None
    device_growth_mib: float | None = None
    missing: dict[str, str] = field(default_factory=dict)
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
            on_wait=run.waiting("sample"),
        )
        sampled, figures = reply.fields, reply.fields["percentiles_ms"]
        calls = int(min(_GROWTH_CALLS, max(10, _GROWTH_BUDGET_MS / figures["mean"])))
        grown = worker.call("memory", {"calls": calls}, first).fields
    return Launch(
        latency_ms={name: figures[name] for name in STATISTICS},
        samples=len(reply.arrays["ns"]),
        cold_start_ms=opened["open_ms"] + answered["infer_ms"],
        peak_mib=grown["peak_mib"],
        growth_mib=grown["growth_mib"],
        probe_ms=min(sampled["probes_ms"]),
        versions=opened["versions"],
        parts_ms={name: sampled["ran"][name]["p50"] for name in PARTS if name in sampled["ran"]},
        watts=sampled["seen"]["watts"],
        joules=sampled["joules"],
        device_mib=grown["device_mib"],
        device_growth_mib=grown["device_growth_mib"],
        missing=_missing(sampled["seen"], grown),
        set_aside=why_set_aside(latency, sampled, run.cell.device),
    )


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
    if sampled["steal_share"] > latency.most_steal:
        return f"the hypervisor took {sampled['steal_share']:.0%} of the CPU"
    if sampled["other_share"] > latency.most_other and device != "remote":
        return f"other processes used {sampled['other_share']:.0%} of the CPU"
    probes_ms = sampled.get("probes_ms")  # what `guard` tells has none: it is short
    change = max(probes_ms) / min(probes_ms) - 1 if probes_ms else 0.0
    if change > latency.same_speed:
        return f"the machine's own speed changed by {change:.0%} meanwhile"
    return why_disturbed(latency, sampled.get("seen", {}))


def valid(launches: Sequence[Launch]) -> list[Launch]:
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
