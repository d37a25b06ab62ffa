"""The parts of the results document: what one test, run, sweep, load or comparison found. Pure.

`report/document.py` says how they stand together, and holds the document itself.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

FAILING = ("failed", "regressed")
"""The verdicts, of a cell or of one of ONNX's cases, that fail a session."""

FIGURE = "a figure"
"""The title, in the schema, of numbers that may be `nan`, `inf` or `-inf`."""

Figure = Annotated[float, Meta(title=FIGURE)]
Figures = dict[str, Figure]
Columns = dict[str, tuple[Figure, ...]]
"""Name -> one figure a run."""


class IntervalResult(msgspec.Struct, frozen=True, kw_only=True):
    """A change or a loss, with its bounds."""

    low: Figure
    value: Figure
    high: Figure


class JudgementResult(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with everything that it was made from.

    Attributes:
        metric: As budgets name it; under load with the number of clients: `load_p95@8`.
        verdict: pass, improved, regressed, inconclusive or missing.
        code: The stable code: IB-600 is a plain pass.
        value: The measured figure, in `unit`; nan where there is none.
        unit: "ms", "MiB", "ratio", "", ...
        budget: The budget as it was written.
        baseline: What it was compared with, in `unit`; None for absolute budgets.
        change: The change against the baseline, as fractions: 0.05 is +5 %; None if absolute.
        smallest_visible: The smallest change, as a fraction, that would have been called regressed.
        detail: Where the figures come from and what to do next; "; " stands between sentences.
    """

    metric: str
    verdict: str
    code: str
    value: Figure
    unit: str = ""
    budget: str = ""
    baseline: Figure | None = None
    change: IntervalResult | None = None
    smallest_visible: Figure | None = None
    detail: str = ""


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep found at one batch size.

    Attributes:
        per_s: Inferences a second: the median over the sweeps.
        p50_ms: The median time of a call, likewise.
        samples: How many timings that is from.
        rates: Inferences a second of each sweep that counts.
    """

    batch: int
    per_s: Figure
    p50_ms: Figure
    samples: int = 0
    rates: tuple[Figure, ...] = ()


class LoadPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A server under a number of clients; each figure is the median over the runs that count.

    Attributes:
        requests: Requests that were made, failed ones included.
        failures: Reason -> how many failed for it.
        per_s: Good answers a second.
        latency_ms: mean, sd, p50, p90, p95, p99 -> the time that clients waited.
        queue_ms: "mean", and "p95" where the server tells -> the time in its queue.
        split_ms: Part of a request's mean time (network, queue, input, infer, output, other) -> it.
        server: What else the server told: its batches, cache, devices.
        client_cpu_ms: CPU time of the client a request.
        bytes_out: Bytes sent a request; `bytes_in` those that came back.
        by_run: Figure -> one value a run.
        strangers: What is to be said of requests in the split that are not ours.
        set_aside: Why each run that does not count does not.
    """

    clients: int = 0
    runs: int = 0
    requests: int = 0
    failures: dict[str, int] = {}
    per_s: Figure | None = None
    latency_ms: Figures = {}
    queue_ms: Figures = {}
    split_ms: Figures = {}
    server: Figures = {}
    client_cpu_ms: Figure | None = None
    bytes_out: Figure | None = None
    bytes_in: Figure | None = None
    by_run: Columns = {}
    strangers: str = ""
    set_aside: tuple[str, ...] = ()


class PlacementResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cell's nodes ran and what they computed in, as far as its runtime tells.

    Attributes:
        nodes: Provider or device -> how many nodes ran there.
        precisions: Precision -> how many nodes computed in it.
        fallback: The nodes that ran elsewhere than asked: `node`, `op`, `provider`.
        memcpy_nodes: Copies between host and device.
    """

    nodes: dict[str, int] = {}
    precisions: dict[str, int] = {}
    fallback: tuple[dict[str, str], ...] = ()
    memcpy_nodes: int | None = None


class ResilienceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a server withstood when one question was asked.

    Attributes:
        question: The test's name.
        seen: Times and counts, by name.
        known: What is known of it and no fault.
        deaths: Known ways in which it died.
        faults: What it did not withstand.
    """

    question: str
    seen: Figures = {}
    known: tuple[str, ...] = ()
    deaths: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class RunResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run: the launch of a fresh worker. What a machine does not tell is absent.

    Attributes:
        latency_ms: p5, p50, p90, p99 and mean of one inference, as the caller sees it.
        device_ms: The same of the time on the device, where the backend tells.
        parts_ms: `server_ms` and `network_ms` of a service, where it tells.
        samples: How many timings they come from.
        calls_per_sample: Calls that each timing is the mean of.
        probe_ms: The machine's own speed beside it.
        cold_start_ms: From opening the artifact to the first answer; `stages_ms` are its parts.
        peak_mib: The worker's peak resident memory; `growth_mib` what it gained after warm-up.
        device_mib: The most memory it held on the device; `device_growth_mib` what it gained there.
        watts: The device's mean power; `joules` its energy an inference.
        watts_over_time: (seconds since sampling began, watts), where power is polled.
        power_source: Which counters or sensors told.
        steal_share: The share of the CPU that the hypervisor took.
        other_share: The share of the CPU that other processes used.
        set_aside: Why the run does not count; empty when it does.
    """

    latency_ms: Figures = {}
    device_ms: Figures = {}
    parts_ms: Figures = {}
    samples: int = 0
    calls_per_sample: int = 1
    probe_ms: Figure | None = None
    cold_start_ms: Figure | None = None
    stages_ms: Figures = {}
    peak_mib: Figure | None = None
    growth_mib: Figure | None = None
    device_mib: Figure | None = None
    device_growth_mib: Figure | None = None
    watts: Figure | None = None
    joules: Figure | None = None
    watts_over_time: tuple[tuple[Figure, Figure], ...] = ()
    power_source: str = ""
    steal_share: Figure | None = None
    other_share: Figure | None = None
    set_aside: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is part of what was judged."""
        return not self.set_aside


class RecordedLoad(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a recorded session has of a server under a number of clients, one figure a run."""

    per_s: tuple[Figure, ...] = ()
    latency_ms: Columns = {}
    queue_ms: Columns = {}
    split_ms: Columns = {}
    probe_ms: tuple[Figure, ...] = ()


class RecordedSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session of the baseline that a cell was judged against, one figure a run.

    Attributes:
        recorded: When, as ISO 8601 in UTC.
        reason: Why, as the user gave it.
        artifact: The SHA-256 of the file that ran.
        latency_ms: p5, p50, p90, p99, mean -> one figure a run.
        probe_ms: The machine's own speed at each run: only runs of one speed are compared.
        memory_mib: "peak" and "device"; `cold_start_ms`: "total" and stages; `energy`: "watts" and
            "joules".
        throughput_per_s: Batch size -> inferences a second, one figure a sweep, whose machine's
            speeds are `sweep_probe_ms`.
        load: Number of clients -> what a server under so many showed.
        scores: Accuracy figure by name.
    """

    recorded: str
    reason: str = ""
    artifact: str = ""
    latency_ms: Columns = {}
    probe_ms: tuple[Figure, ...] = ()
    memory_mib: Columns = {}
    cold_start_ms: Columns = {}
    energy: Columns = {}
    throughput_per_s: Columns = {}
    sweep_probe_ms: tuple[Figure, ...] = ()
    load: dict[str, RecordedLoad] = {}
    scores: Figures = {}


class RoundResult(msgspec.Struct, frozen=True, kw_only=True):
    """One round of two fresh workers side by side.

    Attributes:
        candidate: The cell's own figures, by metric: milliseconds, and MiB of `memory`.
        partner: The other side's.
        change: By how much the candidate has more of each, as a fraction.
    """

    candidate: Figures = {}
    partner: Figures = {}
    change: Figures = {}


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """A cell beside another build of it, or beside another cell.

    Attributes:
        name: "against" of `--inferbench-against`, else the partner; under load with its clients.
        label: The partner in words.
        seconds: What all rounds have taken.
        rounds: Those that count.
        set_aside: Why each of the others does not.
    """

    name: str
    label: str
    seconds: Figure
    rounds: tuple[RoundResult, ...] = ()
    set_aside: tuple[str, ...] = ()


class VariantResult(LoadPoint, frozen=True, kw_only=True):
    """One variant under load; one that was not measured has no figures.

    Attributes:
        cell: The cell's id.
        measured: Whether it has figures.
        gain: By how much more it gets through than the first of all, as a fraction.
        missed: The objectives that it misses, each as a sentence.
        best: Whether it is the best of those that miss none.
        decision: What the settings' ladder says of it.
    """

    cell: str
    backend: str
    measured: bool
    gain: Figure | None = None
    missed: tuple[str, ...] = ()
    best: bool = False
    decision: str | None = None


class StudyResult(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of a model at a precision, under one number of clients."""

    model: str
    precision: str
    clients: int
    objectives: dict[str, str] = {}
    variants: tuple[VariantResult, ...] = ()
    session: int = 0


class CoverageResult(msgspec.Struct, frozen=True, kw_only=True):
    """How ONNX's own cases ended on a cell.

    Attributes:
        version: The runtime and its version; `onnx` that of the `onnx` package.
        outcomes: How many ended how; `verdicts` were judged how; `notes` were said how often.
        ops: A row an operator and opset: `op`, `opset`, and how many of its cases ended how.
        cases: Verdict -> the cases that it was said of; a pass is not listed.
    """

    cell: str
    version: str = ""
    onnx: str = ""
    outcomes: dict[str, int] = {}
    verdicts: dict[str, int] = {}
    notes: dict[str, int] = {}
    ops: tuple[dict[str, str | int], ...] = ()
    cases: dict[str, tuple[str, ...]] = {}
    session: int = 0

    @property
    def failed(self) -> bool:
        """Whether one of them failed the session, or could not be run at all."""
        return any(self.verdicts.get(verdict) for verdict in FAILING) or bool(
            self.outcomes.get("not run")
        )
