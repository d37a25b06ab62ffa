"""How quiet this machine is: a small model beside itself, for some seconds.

Takes settings and hardware; gives what was seen and which changes could have been heard. It is the
gate's own sampler in real workers, and the gate's own judge (`judge/hearing.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_inferbench.builtin import model_path
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.hearing import Audible, Speeds, audible, speeds_of
from pytest_inferbench.judge.runs import Run
from pytest_inferbench.lone import lone_gate

if TYPE_CHECKING:
    from pytest_inferbench.comparing import Comparison
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.measure.machine import CpuShares
    from pytest_inferbench.settings.schema import Settings

METRICS = ("p5", "p50")

_PROBED_FIRST_S = 3.0
_STRANGERS_SHOWN = 3


@dataclass(frozen=True)
class Stranger:
    """Another process, and how much of all CPUs it used."""

    name: str
    pid: int
    share: float


@dataclass(frozen=True)
class Noise:
    """What was seen of a machine.

    Attributes:
        cell: What ran.
        speeds: The machine's own.
        steal: The share of the CPU that the hypervisor took.
        other: What other processes used.
        strangers: The busiest of them.
        rounds: How many pairs of workers counted.
        set_aside: Why the others did not.
        audible: Which changes could have been heard.
        seconds: How long all of it took.
    """

    cell: Cell
    speeds: Speeds
    steal: float
    other: float
    strangers: tuple[Stranger, ...]
    rounds: int
    set_aside: tuple[str, ...]
    audible: tuple[Audible, ...]
    seconds: float


def listen(
    settings: Settings, hardware: Hardware, seconds: float, say: Callable[[str], None]
) -> Noise:
    """Measure for so many seconds, alone on this host.

    Raises:
        InferbenchError: Nothing can be run here (IB-926), or a worker failed.
    """
    gate = lone_gate(model_path(), hardware, base=settings)
    gate.say = say
    (cell,) = gate.cells
    if cell.cannot_run:
        raise InferbenchError(
            "IB-926",
            f"noise is measured with a small model on {cell.backend}, which cannot run here:"
            f" {cell.cannot_run}",
            "Install it, or let the gate itself tell: every inconclusive verdict says what it"
            " could have seen.",
        )
    try:
        return _listened(gate, cell, seconds)
    finally:
        gate.close()


def _listened(gate: Gate, cell: Cell, seconds: float) -> Noise:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.comparing import Comparison
    from pytest_inferbench.measure.machine import CpuWatch, probe_ms

    comparison = Comparison(CellRun(gate, cell), CellRun(gate, cell), "itself")
    probes: list[tuple[float, float]] = []
    beside: list[float] = []
    started_s = time.monotonic()

    def probe() -> None:
        probes.append((time.monotonic() - started_s, probe_ms()))

    def between_rounds() -> bool:
        """Probe the machine; say whether another round would take longer than there is."""
        if len(comparison.rounds) > len(beside):  # the round counts: it ran after the last probe
            beside.append(probes[-1][1])
        probe()
        took_s = time.monotonic() - started_s
        taken = len(comparison.rounds) + len(comparison.set_aside)
        return took_s + comparison.seconds / taken > seconds

    with gate.host.exclusive(on_wait=gate.progress("waiting for the host")):
        before, watch = _cpu_by_process(), CpuWatch()
        while time.monotonic() - started_s < min(_PROBED_FIRST_S, seconds / 2):
            probe()
    comparison.until(between_rounds, seconds - (time.monotonic() - started_s))
    shares = watch.shares()
    took_s = time.monotonic() - started_s
    return Noise(
        cell=cell,
        speeds=speeds_of(probes),
        steal=shares.steal,
        other=shares.other,
        strangers=_strangers(before, took_s, shares),
        rounds=len(comparison.rounds),
        set_aside=tuple(comparison.set_aside),
        audible=_audible(gate, cell, comparison, beside),
        seconds=took_s,
    )


def _audible(
    gate: Gate, cell: Cell, comparison: Comparison, probes_ms: list[float]
) -> tuple[Audible, ...]:
    """Return what could be heard; each round's launches stand beside the probe before it."""
    if len(comparison.rounds) < 2:
        return ()
    latency = gate.settings.latency
    heard = []
    for metric in METRICS:
        budget = gate.settings.budget(cell.model, metric, cell.precision, cell.hardware)
        assert budget is not None  # both have defaults, and the model has no budgets of its own
        launches = [
            Run(side.figure(metric), probe_ms)
            for each, probe_ms in zip(comparison.rounds, probes_ms, strict=True)
            for side in (each.partner, each.candidate)
        ]
        heard.append(
            audible(
                budget,
                comparison.compared(metric),
                launches,
                hardware=cell.hardware,
                same_speed=latency.same_speed_on(cell.device),
                compare_s=latency.compare_s,
            )
        )
    return tuple(heard)


def _cpu_by_process() -> dict[int, float]:
    from pytest_inferbench.measure.machine import cpu_s_by_process

    return cpu_s_by_process()


def _strangers(before: dict[int, float], took_s: float, shares: CpuShares) -> tuple[Stranger, ...]:
    """Return the busiest other processes, where others used the CPU at all."""
    import os
    from pathlib import Path

    from pytest_inferbench.measure.machine import family

    ours, cpus = family([os.getpid()]), os.cpu_count() or 1
    used = {
        pid: (now_s - before.get(pid, 0.0)) / (took_s * cpus)
        for pid, now_s in _cpu_by_process().items()
        if pid not in ours
    }
    busiest = sorted(used, key=lambda pid: -used[pid])[:_STRANGERS_SHOWN]
    found = []
    for pid in busiest:
        try:
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        except OSError:
            continue  # it ended meanwhile
        if used[pid] >= min(0.01, shares.other):
            found.append(Stranger(name, pid, used[pid]))
    return tuple(found)
