"""Binds the search for a layer to cells and to files: takes either, gives what a message says.

Chooses samples and a tolerance for a cell whose accuracy test failed, or for two ONNX files, and
starts the workers; the search itself is `bisection.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.bench import Bench, BuildStep
from pytest_inferbench.bisection import SAMPLES, SLICE_MIB, Bisection, Divergence, worst_samples
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.outline import Outline
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.tasks import Sample

_ROUNDING = 1e-5  # the relative error that is never called beyond tolerance

_GRAPHS = (".onnx", ".xml")
_EXPOSED = "pytest_inferbench.artifacts.recipes_exposed"


@dataclass(frozen=True)
class Located:
    """What a failed test is told.

    Attributes:
        context: Lines for its message: label -> text.
        fields: The same and more, as plain types, for the results.
    """

    context: Mapping[str, str]
    fields: Mapping[str, Any] = field(default_factory=dict)


def located(run: CellRun) -> Located:
    """Find the layer of a cell whose accuracy test failed; never raises what a user can cause."""
    from pytest_inferbench.report.divergence import as_fields, lines

    try:
        found = of_cell(run)
    except InferbenchError as error:
        hint = f" {error.hint}" if error.hint else ""
        text = f"not found: [{error.code}] {error.message}.{hint}"
        return Located({"first layer that diverges": text}, {"kind": "failed", "error": text})
    return Located(lines(found), as_fields(found))


def of_cell(run: CellRun) -> Divergence:
    """Find where a cell diverges from its reference, on the samples that it does worst on.

    Raises:
        InferbenchError: IB-561 it runs no graph that can be laid open; IB-560 the reference
            cannot; IB-564 they have nothing in common.
    """
    from pytest_inferbench.accuracy.divergence import tolerance_for
    from pytest_inferbench.artifacts.outline import Outline
    from pytest_inferbench.candidates import Candidate, IrCandidate, OnnxCandidate
    from pytest_inferbench.provision import build_fields, graph_of, reference_cell

    gate, cell, task = run.gate, run.cell, run.task
    expected, got = gate.reference_of(cell.model).outputs, run.outputs
    chosen = worst_samples(expected, got, SAMPLES)
    fused = _fused(lambda: run.placement(runs=False))  # here, where nothing is laid open
    run.close()  # its memory is needed
    graph, steps = graph_of(gate, cell, task)
    if not graph.path.endswith(_GRAPHS):
        raise InferbenchError(
            "IB-561",
            f"{cell.backend} runs {Path(graph.path).name or graph.path}, which is no ONNX graph, so"
            " its inside cannot be laid open",
            "Compare an ONNX file of what it runs with `inferbench bisect`.",
        )
    build = [
        BuildStep(
            build_fields(step, ""), step.file_name, task.calibration if step.calibrated else {}
        )
        for step in steps
    ]
    modules = [
        *(step.module for step in steps),
        *([_EXPOSED] if graph.path.endswith(".xml") else []),
    ]
    with (
        _bench(gate, reference_cell(gate, cell.model)) as beside,
        _bench(gate, cell, modules, build, run.open_fields()["options"]) as bench,
    ):
        outline = Outline(task.facts.path)
        candidate: Candidate = (
            IrCandidate(graph.path, outline, bench)
            if graph.path.endswith(".xml")
            else OnnxCandidate(Outline(Path(graph.path)), outline, bench)
        )
        bisection = Bisection(
            OnnxCandidate(outline, outline, beside),
            candidate,
            [task.inputs[i] for i in chosen],
            seen_error=_seen_error([expected[i] for i in chosen], [got[i] for i in chosen]),
        )
        budget = gate.settings.budget(cell.model, "cosine", cell.precision, cell.hardware)
        cosine = 0.99 if budget is None else budget.limit
        found = bisection.run(lambda error: tolerance_for(cosine, error, _ROUNDING), _told(run))
    return _with_fused(found, fused, outline)


@dataclass(frozen=True)
class Question:
    """What to compare two files by.

    Attributes:
        backend: What runs the candidate.
        precision: What the backend is asked for.
        data: A folder of tensors; random ones without.
        samples: How many of them.
        shapes: Sizes of inputs whose dimensions are dynamic.
        tolerance: The relative error from which on a tensor is beyond tolerance.
        slice_mib: How much memory the tensors of a slice may take.
    """

    backend: str = "ort-cpu"
    precision: str = "fp32"
    data: Path | None = None
    samples: int = SAMPLES
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    tolerance: float = 0.01
    slice_mib: float = SLICE_MIB


def of_files(gate: Gate, reference: Path, candidate: Path, question: Question) -> Divergence:
    """Find where one ONNX file diverges from another.

    Raises:
        InferbenchError: A file is no model, the backend cannot run here or takes no ONNX (IB-565),
            or the reference cannot be run.
    """
    from pytest_inferbench.accuracy.data import load_tensor_inputs, random_inputs
    from pytest_inferbench.artifacts.inspect import inspect
    from pytest_inferbench.artifacts.outline import Outline
    from pytest_inferbench.candidates import OnnxCandidate
    from pytest_inferbench.provision import reference_cell

    facts = inspect(reference)
    inspect(candidate)
    cell = _cell_for(gate, question)
    samples: Sequence[Sample] = (
        load_tensor_inputs(question.data, limit=question.samples)
        if question.data
        else random_inputs(facts.inputs, question.samples, 20260101, question.shapes)
    )
    with (
        _bench(gate, reference_cell(gate, cell.model)) as beside,
        _bench(gate, cell) as bench,
    ):
        outline = Outline(reference)
        bisection = Bisection(
            OnnxCandidate(outline, outline, beside),
            OnnxCandidate(Outline(candidate), outline, bench),
            list(samples),
            slice_mib=question.slice_mib,
        )
        found = bisection.run(lambda _: question.tolerance, lambda _: None)
        fused = _fused(lambda: bench.placement(candidate))
    return _with_fused(found, fused, outline)


def parse_shapes(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read sizes of inputs, each as ``input=1,3,640,640``.

    Raises:
        InferbenchError: One is not written so (IB-565).
    """
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        try:
            shapes[name] = [int(size) for size in sizes.replace("x", ",").split(",")]
        except ValueError:
            name = ""
        if not name:
            raise InferbenchError(
                "IB-565", f"{text!r} is no shape of an input", "Write images=1,3,640,640."
            )
    return shapes


def _cell_for(gate: Gate, question: Question) -> Cell:
    from pytest_inferbench.backends.catalog import PRECISIONS

    info = gate.catalog.get(question.backend)
    if info is None or info.source != "onnx" or not info.runs:
        known = [name for name, each in gate.catalog.items() if each.source == "onnx" and each.runs]
        raise InferbenchError(
            "IB-565",
            f"{question.backend!r} is no backend that runs ONNX files",
            f"Backends that do: {', '.join(known)}.",
        )
    if question.precision not in PRECISIONS:
        raise InferbenchError(
            "IB-565",
            f"{question.precision!r} is no precision",
            f"The precisions are {', '.join(PRECISIONS)}.",
        )
    cells = gate.matrix_of("bisect", [question.backend], [question.precision])
    able = [cell for cell in cells if not cell.cannot_run]
    if not able:
        why = cells[0].cannot_run if cells else "this machine has no device for it"
        raise InferbenchError("IB-565", f"{question.backend} cannot run here: {why}")
    if gate.environments[able[0].environment].host is not None:
        raise InferbenchError(
            "IB-565",
            f"{question.backend} runs on another host here, and files are compared on this one",
        )
    return able[0]


def _bench(
    gate: Gate,
    cell: Cell,
    modules: Sequence[str] = (),
    steps: Sequence[BuildStep] = (),
    options: Mapping[str, Any] | None = None,
) -> Bench:
    info = gate.catalog[cell.backend]
    if options is None:
        options = {
            **info.options_on(cell.device),
            **users_options(cell.backend, gate.settings.backends),
        }
    progress = gate.progress(f"{cell}: looking for the layer")
    return Bench(
        lambda: gate.launch(cell.environment, [info.adapter or "", *modules]),
        {"backend_module": info.adapter, "options": options, "precision": cell.precision},
        steps,
        is_remote=gate.environments[cell.environment].host is not None,
        on_wait=progress,
        near=gate.cache.root,
    )


def _seen_error(expected: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]]) -> float:
    from pytest_inferbench.bisection import outputs_error

    return outputs_error(expected, got) if expected else math.nan


def _fused(placement: Callable[[], Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the layers that a backend fused, as far as it tells; nothing where it cannot."""
    from pytest_inferbench.artifacts.fusion import is_told_of

    fact: Any = ()
    with suppress(InferbenchError):  # the layer is found without
        fact = placement().get("fused")
    return fact if is_told_of(fact) else ()


def _with_fused(found: Divergence, fact: Sequence[Mapping[str, Any]], model: Outline) -> Divergence:
    """Add what the layer that is named runs as one with."""
    from pytest_inferbench.artifacts.fusion import fused_at, fused_layers

    culprit = found.finding.culprit
    if culprit is None or not fact:
        return found
    return replace(found, fused=fused_at(found.curve.points[culprit], fused_layers(fact, model)))


def _told(run: CellRun) -> Callable[[str], None]:
    progress, started = run.waiting("looking for the layer"), time.monotonic()
    return lambda what: progress(time.monotonic() - started, what)
