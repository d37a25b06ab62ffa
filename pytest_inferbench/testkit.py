"""The fixtures that a test may ask for.

Each takes the test's cell and gives a handle that measures on first use, inside the test, so that
what goes wrong is that test's failure. Computing is left to the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.conformance.build import Build
    from pytest_inferbench.conformance.contract import Contract
    from pytest_inferbench.conformance.placed import Placement
    from pytest_inferbench.energy import Energy
    from pytest_inferbench.footprint import ColdStart, Memory
    from pytest_inferbench.handles import Detections, Handle, Similarity
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.onnx_cases.items import CaseHandle
    from pytest_inferbench.scoring import (
        Classification,
        Embeddings,
        Segmentation,
        TaskScores,
        Transcripts,
    )
    from pytest_inferbench.serving.beside import LoadSpeedup
    from pytest_inferbench.serving.chaos.resilience import Resilience
    from pytest_inferbench.serving.chaos.seen import Seen
    from pytest_inferbench.serving.handle import Load
    from pytest_inferbench.serving.parity import Parity
    from pytest_inferbench.side_by_side import Speedup
    from pytest_inferbench.throughput import Throughput
    from pytest_inferbench.timing import Latency


@pytest.fixture
def _inferbench_cell(request: pytest.FixtureRequest) -> Cell:
    """The parameter itself; a name of its own, so that a project's `cell` is never touched."""
    from pytest_inferbench.items import given_cell

    return given_cell(request)


@pytest.fixture
def _inferbench_run(request: pytest.FixtureRequest, _inferbench_cell: Cell) -> CellRun:
    from pytest_inferbench.entry import gate_of

    return gate_of(request.config).run_of(_inferbench_cell)


@pytest.fixture
def cell(_inferbench_cell: Cell) -> Cell:
    """The model x backend x precision x hardware that this test runs for."""
    return _inferbench_cell


@pytest.fixture
def backend_worker(_inferbench_run: CellRun) -> CellRun:
    """The cell's open worker: `infer(inputs)`, `inputs`, `outputs`."""
    return _inferbench_run


@pytest.fixture
def contract(_inferbench_run: CellRun) -> Contract:
    """What the backend owes every caller: `layouts()`, `threads()`, ... give faults."""
    from pytest_inferbench.conformance.contract import Contract

    return Contract(_inferbench_run)


@pytest.fixture
def placement(_inferbench_run: CellRun) -> Placement:
    """Where the cell's nodes ran and what they computed in: `fallback`, `facts`."""
    from pytest_inferbench.conformance.placed import Placement

    return Placement(_inferbench_run)


@pytest.fixture
def build(_inferbench_run: CellRun) -> Build:
    """What was built for the cell: `facts`, and `again()`, how another build differs."""
    from pytest_inferbench.conformance.build import Build

    return Build(_inferbench_run)


@pytest.fixture
def kept(request: pytest.FixtureRequest, cell: Cell) -> Callable[[Callable[[], list[str]]], None]:
    """Fail with the faults that a question finds; skip, with the reason, what cannot be asked."""

    def kept(question: Callable[[], list[str]]) -> None:
        from pytest_inferbench.conclusion import conclude_question

        conclude_question(request.node, cell, question)

    return kept


@pytest.fixture
def _inferbench_case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def onnx_case(
    request: pytest.FixtureRequest, _inferbench_cell: Cell, _inferbench_case: str
) -> CaseHandle:
    """One of ONNX's own backend tests on one backend: `outcome`, `conclude()`."""
    from pytest_inferbench.entry import gate_of
    from pytest_inferbench.onnx_cases.items import CaseHandle

    return CaseHandle(gate_of(request.config), _inferbench_cell, _inferbench_case, request.node)


@pytest.fixture
def similarity(_inferbench_run: CellRun) -> Similarity:
    """How close the cell's outputs are to the fp32 reference's."""
    from pytest_inferbench.handles import Similarity

    return Similarity(_inferbench_run)


@pytest.fixture
def detections(_inferbench_run: CellRun) -> Detections:
    """What the cell detects, scored against the ground truth: `ap(area="small")`, `scores`."""
    from pytest_inferbench.handles import Detections

    return Detections(_inferbench_run)


@pytest.fixture
def classification(_inferbench_run: CellRun) -> Classification:
    """The cell's best classes, beside labels and the reference's: `classification["top1"]`."""
    from pytest_inferbench.scoring import Classification

    return Classification(_inferbench_run)


@pytest.fixture
def embeddings(_inferbench_run: CellRun) -> Embeddings:
    """The cell's vectors and how they rank each other: `embeddings["recall_at_k"]`, `vectors`."""
    from pytest_inferbench.scoring import Embeddings

    return Embeddings(_inferbench_run)


@pytest.fixture
def segmentation(_inferbench_run: CellRun) -> Segmentation:
    """The cell's masks, beside the reference's and the truth: `segmentation["mask_iou"]`."""
    from pytest_inferbench.scoring import Segmentation

    return Segmentation(_inferbench_run)


@pytest.fixture
def transcripts(_inferbench_run: CellRun) -> Transcripts:
    """What the cell hears: `transcripts.texts`, `transcripts["wer"]`."""
    from pytest_inferbench.scoring import Transcripts

    return Transcripts(_inferbench_run)


@pytest.fixture
def task_scores(_inferbench_run: CellRun) -> TaskScores:
    """What the cell's outputs are worth, as its model's task says: `task_scores["figure"]`."""
    from pytest_inferbench.scoring import TaskScores

    return TaskScores(_inferbench_run)


@pytest.fixture
def latency(_inferbench_run: CellRun) -> Latency:
    """The time of one inference over fresh workers: `p50_ms`, `percentile_ms("p99")`."""
    from pytest_inferbench.timing import Latency

    return Latency(_inferbench_run)


@pytest.fixture
def speedup(_inferbench_run: CellRun) -> Speedup:
    """How many times as fast the cell is as those that its `speedup` budgets name."""
    from pytest_inferbench.side_by_side import Speedup

    return Speedup(_inferbench_run)


@pytest.fixture
def memory(_inferbench_run: CellRun) -> Memory:
    """The peak memory of the cell's worker, and how much it grows: `peak_mib`, `growth_mib`."""
    from pytest_inferbench.footprint import Memory

    return Memory(_inferbench_run)


@pytest.fixture
def energy(_inferbench_run: CellRun) -> Energy:
    """What the cell's device draws: `watts`, `joules_per_inference`."""
    from pytest_inferbench.energy import Energy

    return Energy(_inferbench_run)


@pytest.fixture
def cold_start(_inferbench_run: CellRun) -> ColdStart:
    """The time from opening the artifact to the first answer: `median_ms`."""
    from pytest_inferbench.footprint import ColdStart

    return ColdStart(_inferbench_run)


@pytest.fixture
def throughput(_inferbench_run: CellRun) -> Throughput:
    """Inferences a second by batch size: `per_s(8)`, `best_per_s`, `batches`."""
    from pytest_inferbench.throughput import Throughput

    return Throughput(_inferbench_run)


@pytest.fixture
def resilience(_inferbench_run: CellRun) -> Resilience:
    """What the cell's server withstands: `stub_killed()`, `malformed()`, ... give what was seen."""
    from pytest_inferbench.serving.chaos.resilience import Resilience

    return Resilience(_inferbench_run)


@pytest.fixture
def withstood(request: pytest.FixtureRequest, cell: Cell) -> Callable[[Callable[[], Seen]], None]:
    """Fail with what a server did not withstand; its times and what is known go to the report."""

    def withstood(question: Callable[[], Seen]) -> None:
        from pytest_inferbench.conclusion import conclude_resilience

        conclude_resilience(request.node, cell, question)

    return withstood


@pytest.fixture
def load(_inferbench_run: CellRun) -> Load:
    """The cell's server under load: `per_s(8)`, `percentile_ms("p95", 8)`, `split_ms(8)`."""
    from pytest_inferbench.serving.handle import Load

    return Load(_inferbench_run)


@pytest.fixture
def load_speedup(_inferbench_run: CellRun) -> LoadSpeedup:
    """How many times as much as others, that its `load_speedup` budgets name, it gets through."""
    from pytest_inferbench.serving.beside import LoadSpeedup

    return LoadSpeedup(_inferbench_run)


@pytest.fixture
def parity(_inferbench_run: CellRun) -> Parity:
    """The cell's answers beside those of its artifact without a server: `over("grpc")`."""
    from pytest_inferbench.serving.parity import Parity

    return Parity(_inferbench_run)


@pytest.fixture
def conclude(request: pytest.FixtureRequest, cell: Cell) -> Callable[[Handle], None]:
    """Judge a handle against its budgets: the test passes, fails, or skips with a code."""

    def conclude(handle: Handle) -> None:
        from pytest_inferbench.conclusion import conclude_item

        conclude_item(request.node, cell, handle)

    return conclude
