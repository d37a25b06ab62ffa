"""The results document: everything that a session measured and judged, as typed parts. Pure.

Whatever is shown after a session is made from one `Results`: `report/results.py` makes it from the
gate, `--inferbench-json` writes it, `report/reading.py` reads it back, and the Markdown, the HTML
report, merges and histories take nothing else. docs/schema.json is generated from these types.

    Results
      sessions      SessionResult: when, what command, which machine, packages and settings
      cells         CellResult: one cell of one session, its verdict, and all that is known of it
        tests       TestResult: one test of the cell, its outcome and its figures
          judgements  JudgementResult: a verdict with everything that it was made from
          batches, load, placement, ...  what that kind of test found
        runs        RunResult: every launch of a fresh worker, set aside or not
        recorded    RecordedSession: the baseline that it was judged against, run by run
        comparisons ComparisonResult: rounds beside another build or cell
      serving       StudyResult: the variants of a model under load, side by side
      onnx_ops      CoverageResult: how ONNX's own cases ended

Numbers may be `nan`, `inf` or `-inf`; JSON has no words for these, so there they are text. Names of
figures carry their unit (`p50_ms`, `peak_mib`, `load_per_s@8`). A document may gain keys without a
new number of its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_inferbench.judge.verdict import PASSING
from pytest_inferbench.report.parts import (
    FAILING,
    BatchResult,
    ComparisonResult,
    CoverageResult,
    Figure,
    Figures,
    IntervalResult,
    JudgementResult,
    LoadPoint,
    PlacementResult,
    RecordedSession,
    ResilienceResult,
    RunResult,
    StudyResult,
)

SCHEMA = 2
"""Grows with every change that a reader of the number before could not read."""


class TestResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One test of a cell. Keys that do not concern it are absent.

    Attributes:
        test: pytest's node id.
        outcome: passed, failed or skipped.
        reason: What it failed or was skipped with: the whole paragraph.
        kind: What it is about: similarity, detection, latency, memory, load, placement, ...
        figures: Every number that it measured, by name with its unit. Where a figure comes with
            `NAME_low` and `NAME_high`, these are the bounds of its interval.
        not_asked: Why its question does not apply to the cell.
        context: What a failure's message says beside the figures: label -> text.
        differs: What is not as it was when the baseline was recorded, a line each.
        addition: The session that `--update-baselines` records of it, as in the baseline file.
        raw: Files of raw samples.
        batches: A sweep over batch sizes.
        load: Points of load, by number of clients.
        divergence: Where the outputs begin to diverge, as docs/bisect.md tells.
        onnx_case: One of ONNX's own cases.
        more: What tests of third parties have told beside this.
    """

    test: str
    outcome: str
    reason: str
    duration_s: Figure
    kind: str = ""
    judgements: tuple[JudgementResult, ...] = ()
    figures: Figures = {}
    not_asked: str | None = None
    context: dict[str, str] = {}
    differs: tuple[str, ...] = ()
    addition: dict[str, Any] | None = None
    raw: tuple[str, ...] = ()
    batches: tuple[BatchResult, ...] = ()
    load: tuple[LoadPoint, ...] = ()
    placement: PlacementResult | None = None
    resilience: ResilienceResult | None = None
    divergence: dict[str, Any] | None = None
    onnx_case: dict[str, Any] | None = None
    more: dict[str, Any] = {}

    __test__ = False  # what begins with "Test" is not one of pytest's


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of one session, and all that is known of it.

    Attributes:
        id: Its name in test ids: model, backend, precision and hardware.
        environment: Where its workers ran: a name among its session's environments.
        device: The kind of its device: cpu, nvidia, remote, ...
        markers: What `-m` selects it by.
        cannot_run: Why it cannot run here; None where it can.
        session: Which of the document's sessions it belongs to, counted from 0.
        verdict: pass, improved, regressed, inconclusive, missing; failed (a test failed without a
            verdict), skipped (nothing was judged), or "cannot run".
        codes: The codes of everything that is not a plain pass.
        figures: Every number of its tests, by name with its unit: what a table shows.
        speedup: How much faster it is than its model's slowest fp32 cell on that hardware.
        artifact: The SHA-256 of the file that ran; empty where none was timed.
        ran: Versions, the machine's state and the options that it was timed with, by name.
        tests: Its tests, in the order they ran.
        runs: Every launch of a fresh worker, those set aside included.
        recorded: The recorded sessions that it was judged against, oldest first.
        comparisons: Rounds side by side.
    """

    id: str
    model: str
    backend: str
    precision: str
    hardware: str
    environment: str = "default"
    device: str = "cpu"
    markers: tuple[str, ...] = ()
    cannot_run: str | None = None
    session: int = 0
    verdict: str = ""
    codes: tuple[str, ...] = ()
    figures: Figures = {}
    speedup: Figure | None = None
    artifact: str = ""
    ran: dict[str, str] = {}
    tests: tuple[TestResult, ...] = ()
    runs: tuple[RunResult, ...] = ()
    recorded: tuple[RecordedSession, ...] = ()
    comparisons: tuple[ComparisonResult, ...] = ()

    def __str__(self) -> str:
        return f"{self.model} on {self.backend} at {self.precision} ({self.hardware})"

    @property
    def judgements(self) -> tuple[JudgementResult, ...]:
        """Every judgement of its tests."""
        return tuple(judged for test in self.tests for judged in test.judgements)

    @property
    def batches(self) -> tuple[BatchResult, ...]:
        """What its sweep found; empty where there was none."""
        return next((test.batches for test in self.tests if test.batches), ())

    @property
    def load(self) -> tuple[LoadPoint, ...]:
        """Its points of load; empty where there were none."""
        return next((test.load for test in self.tests if test.load), ())

    @property
    def placement(self) -> PlacementResult | None:
        """Where its nodes ran; None where that was not asked or is not told."""
        return next((test.placement for test in self.tests if test.placement), None)

    @property
    def intervals(self) -> dict[str, IntervalResult]:
        """Figures that come with the bounds of an interval: `map_drop`, `top1_drop`, ..."""
        return intervals_of(self.figures)


class EnvironmentResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where workers ran: a Python, on this host or another.

    Attributes:
        distributions: Package -> version, of those that backends need.
        python: The interpreter.
        host: How `ssh` reaches its host; None for this one.
        cpu: The id of its CPU; `gpus` those of its GPU classes.
        facts: What must be said when two measurements of its machine differ in it.
        unreachable: Why nothing could run there; None where it answered.
    """

    distributions: dict[str, str] = {}
    python: str = ""
    host: str | None = None
    cpu: str = ""
    gpus: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    unreachable: str | None = None


class GitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the project was: its commit, its branch ("" where none is checked out), any changes."""

    commit: str
    branch: str = ""
    dirty: bool = False


class RequirementResult(msgspec.Struct, frozen=True, kw_only=True):
    """An `--inferbench-require` expression, and why it is unmet; empty where it is met."""

    expression: str
    unmet: str = ""


class SessionResult(msgspec.Struct, frozen=True, kw_only=True):
    """One session: when, what, where.

    Attributes:
        id: Its own, drawn at random: the same session in two files is one.
        recorded: When it ended, as ISO 8601 in UTC.
        name: What to call it beside others: its hardware, or what a merge calls it.
        inferbench: The version of this package.
        command: pytest's arguments.
        git: The project's state; None where it is in no git repository.
        host: `python`, `cpu`, `gpus`, and facts of the machine that pytest ran on.
        environments: Where workers ran, by name.
        settings: What matters of the settings: `latency.runs`, `latency.same_speed`, ..., as text.
        options: What matters of the command line: `update`, `against`, ..., as text.
        comparisons: How many gated comparisons shared the session's error budget.
        requirements: What was required of it.
        problems: What failed it beyond its tests.
    """

    id: str
    recorded: str
    name: str = ""
    inferbench: str = ""
    command: tuple[str, ...] = ()
    git: GitResult | None = None
    host: dict[str, Any] = {}
    environments: dict[str, EnvironmentResult] = {}
    settings: dict[str, str] = {}
    options: dict[str, str] = {}
    comparisons: int = 1
    requirements: tuple[RequirementResult, ...] = ()
    problems: tuple[str, ...] = ()


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The document: one session, or several that were merged.

    Attributes:
        schema: The number of the document's form.
        inferbench: The version that wrote it.
        recorded: When its last session ended.
        sessions: One, or as many as were merged, oldest first.
        cells: Every cell of each session that ran or cannot run, in the matrix's order.
        serving: The studies of variants under load.
        onnx_ops: How ONNX's own cases ended.
        notices: What the sessions said at their ends, and what a merge has to say.
        left_out: Why files that were to be merged are not in it.
    """

    schema: int = SCHEMA
    inferbench: str
    recorded: str
    sessions: tuple[SessionResult, ...]
    cells: tuple[CellResult, ...] = ()
    serving: tuple[StudyResult, ...] = ()
    onnx_ops: tuple[CoverageResult, ...] = ()
    notices: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def session_of(self, cell: CellResult) -> SessionResult:
        """Return the session that a cell belongs to."""
        return self.sessions[cell.session]

    @property
    def passed_in_part(self) -> bool:
        """Whether some figure is within its budget, whatever became of its cell's others."""
        return any(judged.verdict in PASSING for cell in self.cells for judged in cell.judgements)

    @property
    def failed(self) -> bool:
        """Whether a cell, a session or one of ONNX's cases failed, or a file is left out."""
        return (
            bool(self.left_out)
            or any(covered.failed for covered in self.onnx_ops)
            or any(
                cell.verdict in FAILING or any(test.outcome == "failed" for test in cell.tests)
                for cell in self.cells
            )
            or any(
                session.problems or any(required.unmet for required in session.requirements)
                for session in self.sessions
            )
        )


def intervals_of(figures: Mapping[str, float]) -> dict[str, IntervalResult]:
    """Return the figures that have bounds beside them: `x` with `x_low` and `x_high`."""
    return {
        name: IntervalResult(low=figures[f"{name}_low"], value=value, high=figures[f"{name}_high"])
        for name, value in figures.items()
        if f"{name}_low" in figures and f"{name}_high" in figures
    }
