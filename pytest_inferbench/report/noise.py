"""How quiet a machine is: takes what was seen of it, gives lines and plain types. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_inferbench.report.messages import counted, percent

if TYPE_CHECKING:
    from pytest_inferbench.judge.hearing import Audible
    from pytest_inferbench.noise import Noise
    from pytest_inferbench.settings.schema import LatencySettings

HELP = "docs/quiet-machine.md"
_STEADY_CHANGES = 2


def lines(noise: Noise, latency: LatencySettings) -> list[str]:
    """Return what a person is told.

    Args:
        noise: What was seen.
        latency: The tolerances that runs are held to.
    """
    hearing = list(_hearing(noise, latency))
    return [
        f"noise     a small model beside itself on {noise.cell.backend}, {noise.seconds:.0f} s",
        *_listed(_seen(noise, latency)),
        "          what would be called a regression:",
        *_listed(hearing, "            "),
        *_listed(f"what to do: {each}" for each in _advice(noise, latency)),
    ]


def _listed(said: Any, indent: str = "          ") -> list[str]:
    return [f"{indent}{each}" for each in said]


def _seen(noise: Noise, latency: LatencySettings) -> Iterator[str]:
    yield _speed(noise, latency)
    yield (
        f"the hypervisor took {noise.steal:.1%} of the CPU, other processes used {noise.other:.1%}"
    )
    if noise.strangers and noise.other > 0.01:
        who = ", ".join(
            f"{each.name} (pid {each.pid}) {each.share:.0%}" for each in noise.strangers
        )
        yield f"the busiest: {who}"
    for each in noise.audible:
        if math.isfinite(each.launches):
            yield f"{each.metric} differs by {each.launches:.1%} from one fresh launch to the next"
    aside = f"; {len(noise.set_aside)} set aside: {noise.set_aside[0]}" if noise.set_aside else ""
    yield f"{counted(noise.rounds, 'round')} of two workers in turn{aside}"


def _speed(noise: Noise, latency: LatencySettings) -> str:
    speeds = noise.speeds
    if not speeds.several(latency.same_speed):
        beyond = "" if speeds.spread <= latency.same_speed else ", a few slow moments apart"
        within = percent(speeds.apart)
        return f"the machine keeps one speed (probe {speeds.fast_ms:.2f} ms, {within}{beyond})"
    how = (
        f"changes between them within seconds ({counted(speeds.changes, 'change')} in"
        f" {speeds.seconds:.0f} s)"
        if speeds.changes > _STEADY_CHANGES
        else f"changed between them ({counted(speeds.changes, 'change')} in {speeds.seconds:.0f} s)"
    )
    return (
        f"the machine has two speeds (probe {speeds.fast_ms:.2f} and {speeds.slow_ms:.2f} ms,"
        f" {percent(speeds.apart)}), is slow for {speeds.slow_share:.0%} of the time, and {how}"
    )


def _hearing(noise: Noise, latency: LatencySettings) -> Iterator[str]:
    if not noise.audible:
        yield "nothing can be said: too few rounds count"
        return
    rows = [("", *(f"{each.metric} (budget {each.budget})" for each in noise.audible))]
    rows += [
        (f"side by side, {noise.seconds:.0f} s", *_column(noise, "beside")),
        (f"side by side, {latency.compare_s:.0f} s", *_column(noise, "beside_for")),
        ("against 1 recorded session", *_column(noise, "first")),
        ("against 5 like these", *_column(noise, "fifth")),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _column(noise: Noise, name: str) -> list[str]:
    return [_from(each, name) for each in noise.audible]


def _from(heard: Audible, name: str) -> str:
    change: float | None = getattr(heard, name)
    if change is None or not math.isfinite(change):
        return "cannot tell"
    least = "at best " if name == "fifth" and heard.fifth_is_least else ""
    return f"{least}from {percent(change)}"


def _advice(noise: Noise, latency: LatencySettings) -> Iterator[str]:
    if noise.speeds.several(latency.same_speed):
        yield (
            "runs at one speed are compared with runs at the same one alone, so expect IB-614 and"
            " runs that are set aside; hold the clock, or take a machine whose cores are yours"
            f" ({HELP}); --inferbench-against compares in turn, and minds it least"
        )
    if noise.steal > latency.most_steal:
        yield f"the hypervisor takes more than [latency] most_steal: a dedicated host ({HELP})"
    if noise.other > latency.most_other:
        yield (
            "others use more than [latency] most_other: stop them, or use CPUs of your own"
            f" ({HELP})"
        )
    for each in noise.audible:
        if each.beside_for is None:
            yield f"{each.metric} cannot be compared here in {latency.compare_s:.0f} s: {HELP}"
    if noise.rounds and not noise.set_aside and not noise.speeds.several(latency.same_speed):
        yield "record five sessions on different days: then the cell's own spread counts"


def plain(noise: Noise) -> dict[str, Any]:
    """Return it as plain types; a change that cannot be told is null."""
    fields = dataclasses.asdict(dataclasses.replace(noise, audible=()))
    fields["cell"] = noise.cell.id
    fields["speeds"]["apart"] = noise.speeds.apart
    fields["audible"] = [
        {
            name: value if not isinstance(value, float) or math.isfinite(value) else None
            for name, value in dataclasses.asdict(each).items()
        }
        for each in noise.audible
    ]
    return fields
