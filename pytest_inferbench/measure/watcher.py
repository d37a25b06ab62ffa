"""The machine beside a measurement: takes a kind of device, gives what a `Sighting` holds.

Knows neither models nor tolerances. What only counts up (RAPL, throttle counters) and what is set
(governor, power mode) is read before and after. Where a source must be polled (NVML's clocks and
throttle reasons, a Jetson's rails) a thread does so ten times a second; it keeps account of its own
CPU time, which a sighting tells as `cost_share`. Seen with a Jetson's recorded tree (three rails, a
GPU, eight cooling devices) on a loaded virtual machine: 0.7 % of one core, and 1 to 2 ms of CPU
before and after. NVML's part was never measured. On a CPU with RAPL, or with nothing, no thread
runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_inferbench.hardware.conditions import (
    Conditions,
    JetsonGpu,
    read_conditions,
)
from pytest_inferbench.hardware.nvml import Gpu, own_mib, strangers_of
from pytest_inferbench.hardware.rails import NONE_HERE as NO_RAILS
from pytest_inferbench.hardware.rails import Rail, find_rails, module_rails, rails_watts
from pytest_inferbench.hardware.rapl import Rapl, energy_uj, find_rapl
from pytest_inferbench.measure.machine import family
from pytest_inferbench.measure.power import counted_uj, counter_watts, mean_watts

POLL_S = 0.1

MOST_POINTS = 120
"""Of power over time: as many as a picture of it can show."""

NO_DEVICE_MEMORY = "a CPU has no memory of its own; `memory` holds the worker's"
SHARED_MEMORY = (
    "a Jetson's GPU shares the host's memory and no driver tells how much of it one process holds"
)
ELSEWHERE = "what runs the model is not a process of this worker"


@dataclass(frozen=True)
class Poll:
    """One look at what must be polled; each is None where it is not told."""

    at_s: float
    watts: float | None = None
    energy_j: float | None = None
    clock_mhz: float | None = None
    throttles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sighting:
    """What was seen of the machine during a measurement.

    Attributes:
        seconds: How long it took.
        watts: The mean power of the device; None where it cannot be read.
        power_source: Which counters or sensors told.
        power_missing: Why `watts` is None, and what would be needed.
        watts_over_time: Seconds since the beginning and watts, poll by poll but no more than
            `MOST_POINTS`; none where the power is not polled.
        device_mib: The most device memory that our processes held so far.
        device_missing: Why that is None.
        clocks_mhz: What the device clocked at, poll by poll, after the warm-up.
        throttled: By cause, the share of the polls in which clocks were held down.
        throttled_share: The share of the time for which heat slowed the CPUs.
        throttle_events: How often something was slowed, by cause.
        strangers: Processes on the device that are not ours: pid, name, share of its time or None.
        before: What the machine was set to.
        after: And after it.
        cost_share: The share of one core that polling took.
    """

    seconds: float
    watts: float | None = None
    power_source: str = ""
    power_missing: str = ""
    watts_over_time: tuple[list[float], ...] = ()
    device_mib: float | None = None
    device_missing: str = ""
    clocks_mhz: tuple[float, ...] = ()
    throttled: dict[str, float] = field(default_factory=dict)
    throttled_share: float = 0.0
    throttle_events: dict[str, int] = field(default_factory=dict)
    strangers: tuple[dict[str, Any], ...] = ()
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    cost_share: float = 0.0

    def as_fields(self) -> dict[str, Any]:
        """Return it as plain types."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


class Watcher:
    """Watches the device that a worker uses; one measurement at a time."""

    def __init__(self, kind: str = "cpu", index: int = 0, root: Path = Path("/")) -> None:
        """Find what tells of a device.

        Args:
            kind: `cpu`, `nvidia` or `jetson`; anything else is not on this machine.
            index: Which GPU, as CUDA counts.
            root: The machine's tree.
        """
        self._kind, self._root = kind, root
        self._rapl = find_rapl(root) if kind == "cpu" else Rapl()
        # On a Jetson the rails tell of the whole module, its CPUs included.
        with_rails = kind == "jetson" or (kind == "cpu" and bool(self._rapl.missing))
        self._rails: tuple[Rail, ...] = module_rails(find_rails(root)) if with_rails else ()
        self._jetson = JetsonGpu(root) if kind == "jetson" else None
        found = Gpu.find(index) if kind == "nvidia" else ""
        self._gpu = None if isinstance(found, str) else found
        self._no_gpu = found if isinstance(found, str) else ""
        self._used_at_first_mib = self._gpu.used_mib() if self._gpu else None
        self._peak_mib: float | None = None
        self._ours: set[int] = {os.getpid()}
        self._poller: _Poller | None = None

    def start(self, ours: Iterable[int] = ()) -> None:
        """Begin.

        Args:
            ours: Further processes that are no strangers: workers that run beside this one.
        """
        self._ours = {os.getpid(), *ours}
        self._before = read_conditions(self._root)
        self._strangers_before = self._strangers_now({})
        self._epoch_s = time.time()
        self._counters_before = self._counters()
        self._started_s = time.perf_counter()
        if self._gpu is not None or self._rails:
            self._poller = _Poller(self._poll)

    def stop(self, warmup_s: float = 0.0) -> Sighting:
        """End; polls of the first `warmup_s` say nothing of clocks and throttling."""
        seconds = time.perf_counter() - self._started_s
        counters = self._counters()
        polls, cost_s = self._poller.stop() if self._poller else ([], 0.0)
        self._poller = None
        after = read_conditions(self._root)
        warm = [poll for poll in polls if poll.at_s >= self._started_s + warmup_s] or polls[-1:]
        watts = self._watts(counters, polls, warm, seconds)
        before = self._before
        return Sighting(
            seconds=seconds,
            watts=watts,
            power_source=self._power_source() if watts is not None else "",
            power_missing=self._why_no_power() if watts is None else "",
            watts_over_time=_thinned(
                [[p.at_s - self._started_s, p.watts] for p in polls if p.watts is not None]
            ),
            device_mib=self.device_mib(),
            device_missing=self.why_no_device_memory(),
            clocks_mhz=tuple(poll.clock_mhz for poll in warm if poll.clock_mhz is not None),
            throttled=_shares([poll.throttles for poll in warm]),
            throttled_share=min(1.0, (after.throttled_ms - before.throttled_ms) / 1e3 / seconds),
            throttle_events=_new_events(before, after),
            strangers=self._strangers(),
            before=before.as_fields(),
            after=after.as_fields(),
            cost_share=cost_s / seconds,
        )

    def device_mib(self) -> float | None:
        """Return the most device memory that our processes were seen to hold, now included."""
        held_mib = self.held_mib()
        if held_mib is not None:
            self._peak_mib = max(held_mib, self._peak_mib or 0.0)
        return self._peak_mib

    def held_mib(self) -> float | None:
        """Return the device memory that this process holds now; None where it is not told.

        Where the driver does not tell it by process, and nobody else has the device, it is what is
        in use beyond what was before anything was opened.
        """
        if self._gpu is None:
            return None
        processes = self._gpu.processes()
        own = own_mib(processes, {os.getpid()})
        if own is None and len(processes) <= 1:
            used_mib = self._gpu.used_mib()
            if used_mib is not None and self._used_at_first_mib is not None:
                own = used_mib - self._used_at_first_mib
        return own if own is not None and own > 0 else None

    def why_no_device_memory(self) -> str:
        """Return what would be needed for `device_mib`; empty where it is known."""
        if self._peak_mib is not None:
            return ""
        if self._gpu is not None:
            return "the driver does not tell here what a process holds"
        reasons = {"cpu": NO_DEVICE_MEMORY, "jetson": SHARED_MEMORY, "nvidia": self._no_gpu}
        return reasons.get(self._kind, ELSEWHERE)

    def _poll(self) -> Poll:
        now_s = time.perf_counter()
        if self._gpu is not None:
            seen = self._gpu.read()
            return Poll(now_s, seen.watts, seen.energy_j, seen.clock_mhz, seen.throttles)
        return Poll(
            now_s,
            watts=rails_watts(self._root, self._rails),
            clock_mhz=self._jetson.clock_mhz() if self._jetson else None,
            throttles=self._jetson.throttles() if self._jetson else (),
        )

    def _counters(self) -> list[int | None]:
        return [energy_uj(self._root, domain) for domain in self._rapl.domains]

    def _watts(
        self,
        counters: Sequence[int | None],
        polls: Sequence[Poll],
        warm: Sequence[Poll],
        seconds: float,
    ) -> float | None:
        if self._rapl.domains:
            used_uj = [
                counted_uj(before, after, domain.range_uj)
                for before, after, domain in zip(
                    self._counters_before, counters, self._rapl.domains, strict=True
                )
                if before is not None and after is not None
            ]
            told = [uj for uj in used_uj if uj is not None]
            whole = len(told) == len(self._rapl.domains) and sum(told) > 0
            return sum(told) / 1e6 / seconds if whole else None
        counted = [(p.at_s, p.energy_j) for p in polls if p.energy_j is not None]
        watts = counter_watts([at for at, _ in counted], [joules for _, joules in counted])
        if watts is None:
            read = [(p.at_s, p.watts) for p in warm if p.watts is not None]
            watts = mean_watts([at for at, _ in read], [each for _, each in read])
        return watts if watts and watts > 0 else None

    def _power_source(self) -> str:
        if self._rapl.domains:
            return f"RAPL {'+'.join(domain.name for domain in self._rapl.domains)}"
        if self._gpu is not None:
            return "NVML"
        return f"rails {'+'.join(rail.label for rail in self._rails)}"

    def _why_no_power(self) -> str:
        if self._kind == "cpu":
            return self._rapl.missing or "the CPU's energy counters stood still"
        if self._kind == "jetson":
            return "the power monitor's rails could not be read" if self._rails else NO_RAILS
        if self._kind == "nvidia":
            return self._no_gpu or "this GPU's driver tells no power"
        return ELSEWHERE

    def _strangers_now(self, shares: dict[int, float]) -> dict[int, float | None]:
        if self._gpu is None:
            return {}
        # a server that a worker of ours started is ours too
        return strangers_of(self._gpu.processes(), shares, family(self._ours, str(self._root)))

    def _strangers(self) -> tuple[dict[str, Any], ...]:
        """Those that were there before or after, and whether they were there all the time."""
        if self._gpu is None:
            return ()
        now = self._strangers_now(self._gpu.shares_since(self._epoch_s))
        before = self._strangers_before
        return tuple(
            {
                "pid": pid,
                "name": _name_of(pid, self._root),
                "share": now.get(pid),
                "stayed": pid in now and pid in before,
            }
            for pid in sorted({*now, *before})
        )


class _Poller:
    """A thread that looks at something at a steady pace until it is stopped."""

    def __init__(self, look: Callable[[], Poll]) -> None:
        self._look, self._polls = look, list[Poll]()
        self._cost_s = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inferbench-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> tuple[list[Poll], float]:
        """Return the polls, the last one taken now, and the CPU time that they took."""
        self._stopped.set()
        self._thread.join()
        return self._polls, self._cost_s

    def _run(self) -> None:
        while True:
            last = self._stopped.is_set()
            self._polls.append(self._look())
            self._cost_s = time.thread_time()
            if last:
                return
            self._stopped.wait(POLL_S)


def _thinned(points: Sequence[list[float]]) -> tuple[list[float], ...]:
    """Return no more than `MOST_POINTS` of them, evenly taken, the first and the last included."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    last = len(points) - 1
    return tuple(points[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS))


def _shares(throttles: Sequence[Sequence[str]]) -> dict[str, float]:
    causes = [cause for each in throttles for cause in each]
    return {cause: causes.count(cause) / len(throttles) for cause in dict.fromkeys(causes)}


def _new_events(before: Conditions, after: Conditions) -> dict[str, int]:
    return {
        cause: count - before.throttle_events.get(cause, count)
        for cause, count in after.throttle_events.items()
        if count > before.throttle_events.get(cause, count)
    }


def _name_of(pid: int, root: Path) -> str:
    try:
        return Path(root, "proc", str(pid), "comm").read_text().strip()
    except OSError:
        return "a process"
