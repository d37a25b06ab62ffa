"""One sweep of a cell: a fresh worker that is timed at each batch size.

Takes a cell's run, what to open and batch sizes; gives one `Sweep`. Knows neither budgets nor
baselines.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.launches import keep_raw, pinned_to, watched, why_set_aside

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.tasks import Sample

DEFAULT_BATCHES = (1, 2, 4, 8)
"""What is swept where the settings name none and the sweep is asked for."""

_SHORTEST_S = 0.2


@dataclass(frozen=True)
class Sweep:
    """What one fresh worker showed.

    Attributes:
        p50_ms: The median time of a call, by batch size.
        samples: How many timings each of them comes from.
        probe_ms: The machine's own speed beside it.
        versions: What ran, by distribution.
        pinned: The CPUs that it was kept to, where the settings pin it.
        raw_files: Where the timings themselves were kept.
        set_aside: Why the sweep does not count; empty when it does.
    """

    p50_ms: Mapping[int, float]
    samples: Mapping[int, int]
    probe_ms: float
    versions: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""
    raw_files: tuple[str, ...] = ()
    set_aside: str = ""

    def rate(self, batch: int) -> float:
        """Return the inferences a second at a batch size, one call after another."""
        return batch * 1e3 / self.p50_ms[batch]

    def best(self, among: Sequence[int]) -> float:
        """Return the most inferences a second at any of these batch sizes."""
        return max(self.rate(batch) for batch in among)


def sweep_once(run: CellRun, open_fields: dict[str, Any], batches: Sequence[int]) -> Sweep:
    """Measure one fresh worker at each batch size, smallest first.

    A model whose batch size is fixed is measured at that one alone.

    Raises:
        InferbenchError: The cell refuses a batch size (IB-670), or the worker failed.
    """
    latency = run.gate.settings.latency
    p50_ms: dict[int, float] = {}
    samples: dict[int, int] = {}
    probes_ms: list[float] = []
    raw_files: list[str] = []
    aside = ""
    with run.new_worker() as worker:
        worker.call("watch", watched(run.cell, open_fields["options"]))
        opened = worker.call("open", open_fields, on_wait=run.waiting("open")).fields
        axes = batched_inputs(opened["inputs"])
        sizes = sorted(batches) if axes else [fixed_batch(opened["inputs"])]
        progress, started = run.waiting("sweep"), time.monotonic()
        for batch in sizes:
            progress(time.monotonic() - started, f"batches of {batch}")
            try:
                reply = worker.call(
                    "sample",
                    {
                        "duration_s": max(_SHORTEST_S, latency.run_s / len(sizes)),
                        "warmup_floor_s": latency.warmup_floor_s,
                        "warmup_ceiling_s": latency.warmup_ceiling_s,
                    },
                    batch_of(run.inputs, axes, batch) if axes else run.inputs[0],
                    timeout_s=latency.run_s
                    + latency.warmup_ceiling_s
                    + run.gate.settings.worker.call_timeout_s,
                )
            except InferbenchError as error:
                raise _refused(batch, error, fixed=not axes) from error
            p50_ms[batch] = reply.fields["percentiles_ms"]["p50"]
            samples[batch] = len(reply.arrays["ns"])
            probes_ms += reply.fields["probes_ms"]
            why = why_set_aside(latency, reply.fields, run.cell.device)
            raw_files += keep_raw(run, reply, opened["versions"], why, batch=batch)
            aside = aside or why
    return Sweep(
        p50_ms,
        samples,
        min(probes_ms),
        opened["versions"],
        pinned_to(latency, opened),
        tuple(raw_files),
        aside,
    )


def batched_inputs(specs: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the inputs whose first dimension is the batch; none where the model fixes it.

    It is the batch when it is open. Where several inputs have open first dimensions by name, those
    of the first one's name.
    """
    opened = {
        spec["name"]: spec["shape"][0]
        for spec in specs
        if spec["shape"] and not (isinstance(spec["shape"][0], int) and spec["shape"][0] >= 0)
    }
    if not opened:
        return frozenset()
    batch = next(iter(opened.values()))
    return frozenset(name for name, symbol in opened.items() if symbol == batch)


def fixed_batch(specs: Sequence[Mapping[str, Any]]) -> int:
    """Return how many a call of a model takes whose batch size is fixed.

    Inputs that agree on their first dimension say so; else a call is one inference.
    """
    first = {spec["shape"][0] for spec in specs if spec["shape"]}
    size = first.pop() if len(first) == 1 else 1
    return size if isinstance(size, int) and size > 0 else 1


def batch_of(inputs: Sequence[Sample], batched: frozenset[str], size: int) -> dict[str, Any]:
    """Return one batch of a size: samples one after another, from the first again where needed."""
    import numpy as np

    parts: list[Sample] = []
    held = 0
    axis = next(iter(batched))
    while held < size:
        parts.append(inputs[len(parts) % len(inputs)])
        held += len(parts[-1][axis])
    return {
        name: np.concatenate([part[name] for part in parts])[:size] if name in batched else first
        for name, first in parts[0].items()
    }


def _refused(batch: int, error: InferbenchError, *, fixed: bool) -> InferbenchError:
    """A worker that died says so itself; what is refused is put down to the batch size."""
    if fixed or error.code in ("IB-301", "IB-302", "IB-303", "IB-306"):
        return error
    return InferbenchError(
        "IB-670",
        f"a batch of {batch} could not be run: {error.message}",
        "Name the sizes that it takes in [latency] batches. " + error.hint,
    )
