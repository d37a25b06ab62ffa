"""Whether a run was undisturbed: takes what was seen of the machine, gives why it does not count.

Pure: the sighting is the plain fields of `measure.watcher.Sighting`, the tolerances are those of
`[latency]`. What was not seen disturbs nothing. Processes of our own are no strangers: the watcher
was told which they are.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_inferbench.hardware.nvml import POWER_CAP

if TYPE_CHECKING:
    from pytest_inferbench.settings.schema import LatencySettings

HOW_TO_HOLD = "docs/quiet-machine.md says how to hold them"


def why_disturbed(latency: LatencySettings, seen: Mapping[str, Any]) -> str:
    """Return why a run does not count; empty when it does."""
    return next(_reasons(latency, seen), "")


def _reasons(latency: LatencySettings, seen: Mapping[str, Any]) -> Iterator[str]:
    """The gravest first: what was set otherwise, what was slowed, who else was there."""
    before, after = seen.get("before", {}), seen.get("after", {})
    for key, what in (("governor", "the CPU's governor"), ("power_mode", "the power mode")):
        old, new = before.get(key), after.get(key)
        if old and new and old != new:
            yield f"{what} changed meanwhile: {old} -> {new}"
    old_mhz, new_mhz = before.get("cpu_limit_mhz"), after.get("cpu_limit_mhz")
    if old_mhz and new_mhz and abs(new_mhz / old_mhz - 1) > latency.same_clock:
        yield (
            f"the CPU's highest clock was set from {old_mhz:.0f} to {new_mhz:.0f} MHz meanwhile;"
            f" {HOW_TO_HOLD}"
        )
    yield from _throttled(latency, seen)
    clocks_mhz = seen.get("clocks_mhz", ())
    astray = share_astray(clocks_mhz, latency.same_clock)
    if astray > latency.most_disturbed:
        yield (
            f"the device's clock moved between {min(clocks_mhz):.0f} and {max(clocks_mhz):.0f} MHz"
            f" ({astray:.0%} of the time off its median by more than {latency.same_clock:.0%});"
            f" {HOW_TO_HOLD}"
        )
    yield from _strangers(latency, seen)


def share_astray(clocks_mhz: Sequence[float], same_clock: float) -> float:
    """Return the share of readings that lie off their median by more than a fraction."""
    middle_mhz = statistics.median_high(clocks_mhz) if clocks_mhz else 0.0
    if middle_mhz <= 0:
        return 0.0
    off = sum(abs(clock_mhz / middle_mhz - 1) > same_clock for clock_mhz in clocks_mhz)
    return off / len(clocks_mhz)


def _throttled(latency: LatencySettings, seen: Mapping[str, Any]) -> Iterator[str]:
    for cause, share in seen.get("throttled", {}).items():
        if share <= latency.most_disturbed:
            continue
        if cause != POWER_CAP:
            yield f"the device was throttled by {cause} for {share:.0%} of the time"
        elif not latency.allow_power_cap:
            yield (
                f"the device was throttled by {cause} for {share:.0%} of the time: lock a clock"
                " that keeps below it (docs/quiet-machine.md), or set [latency] allow_power_cap"
            )
    share = seen.get("throttled_share", 0.0)
    if share > latency.most_disturbed:
        yield f"heat slowed the CPU for {share:.0%} of the time"
    elif not share and latency.most_disturbed < 1:  # kernels that tell no time count events
        for cause, count in seen.get("throttle_events", {}).items():
            yield f"the machine was throttled {count} times meanwhile: {cause}"


def _strangers(latency: LatencySettings, seen: Mapping[str, Any]) -> Iterator[str]:
    for stranger in seen.get("strangers", ()):
        who = f"{stranger['name']} (pid {stranger['pid']})"
        share = stranger["share"]
        if share is not None and share > latency.most_stranger:
            yield f"{who} used {share:.0%} of the device"
        elif share is None and not stranger["stayed"]:
            yield f"{who} came to the device or left it meanwhile"
