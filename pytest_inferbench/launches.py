"""One run of a cell: a fresh worker, opened, warmed, sampled, closed.

Takes a cell's run and what to open; gives one `Launch`. Knows neither budgets nor baselines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
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
        probe_ms: The machine's own speed beside it.
        versions: What ran, by distribution.
        parts_ms: The median of each of `PARTS` that the backend tells.
        calls_per_sample: Calls that each timing is the mean of.
        stages_ms: The part of the cold start that each of `STAGES` took, those that there were.
        device_ms: Each of `STATISTICS` of the time on the device, where the backend can tell.
        pinned: The CPUs that it was kept to, where the settings pin it.
        raw_files: Where the timings themselves were kept.
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
    set_aside: str = ""


def launch_once(run: CellRun, open_fields: dict[str, Any]) -> Launch:
    """Measure one fresh worker."""
    from pytest_inferbench.worker.protocol import pack_samples

    latency = run.gate.settings.latency
    rotated = pack_samples(run.inputs[:ROTATED_INPUTS])
    first = run.inputs[0]
    with run.new_worker() as worker:
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


def why_set_aside(latency: LatencySettings, sampled: Mapping[str, Any], device: str = "cpu") -> str:
    """Return why a run does not count, from what was seen of the machine; empty when it does.

    A service on this host is no stranger to its own measurement, whatever it uses.
    """
    if sampled["steal_share"] > latency.most_steal:
        return f"the hypervisor took {sampled['steal_share']:.0%} of the CPU"
    if sampled["other_share"] > latency.most_other and device != "remote":
        return f"other processes used {sampled['other_share']:.0%} of the CPU"
    change = max(sampled["probes_ms"]) / min(sampled["probes_ms"]) - 1
    if change > latency.same_speed:
        return f"the machine's own speed changed by {change:.0%} meanwhile"
    return ""


class _MayBeSetAside(Protocol):
    @property
    def set_aside(self) -> str: ...


_Run = TypeVar("_Run", bound=_MayBeSetAside)


def valid(launches: Sequence[_Run]) -> list[_Run]:
    """Return the runs that count."""
    return [launch for launch in launches if not launch.set_aside]
