"""Artifacts and reference outputs: planned here, built in a worker, kept in the host's cache.

Takes a cell and its task; gives the file to run, or the outputs to compare with. Knows what to ask
for, not how it is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.artifacts.plan import Recipe, artifact_key, recipe_for
from pytest_inferbench.backends.catalog import CATALOG, REFERENCE_BACKEND
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.tasks import Sample, Task

_MODEL_FILE = "model.onnx"
_OUTPUTS_FILE = "outputs.npz"


@dataclass(frozen=True)
class Artifact:
    """The file that a cell runs.

    Attributes:
        sha256: What identifies it in baselines and results.
    """

    path: Path
    sha256: str


def provide(gate: Gate, cell: Cell, task: Task) -> Artifact:
    """Return a cell's artifact; fp32 is the user's file as it is.

    Raises:
        InferbenchError: The model is unsound, no recipe makes this precision, or building failed.
    """
    facts = task.facts
    if cell.precision == "fp32":
        return Artifact(facts.path, facts.sha256)
    family = CATALOG[cell.backend].family
    quantization = task.model.quantization
    recipe = recipe_for(
        family,
        cell.precision,
        {"method": quantization.method, "exclude": list(quantization.exclude)},
    )
    calibrated = cell.precision == "int8"
    key = artifact_key(
        facts.sha256,
        recipe,
        task.calibration_sha256 if calibrated else None,
        gate.environments[cell.environment].distributions,
    )
    describe = {"model": cell.model, "family": family, "precision": cell.precision}

    def build(folder: Path) -> Mapping[str, object]:
        return _build(
            gate, cell, recipe, facts.path, folder, task.calibration if calibrated else {}
        )

    cached = gate.cache.get_or_build(key, describe, build)
    return Artifact(cached.folder / _MODEL_FILE, cached.meta["files"][_MODEL_FILE]["sha256"])


def _build(
    gate: Gate,
    cell: Cell,
    recipe: Recipe,
    model: Path,
    folder: Path,
    calibration: Mapping[str, Any],
) -> Mapping[str, object]:
    recipes = f"pytest_inferbench.artifacts.recipes_{recipe.family}"
    with gate.launch(cell.environment, [recipes]) as worker:
        facts: Mapping[str, object] = worker.call(
            "build",
            {
                "family": recipe.family,
                "recipe": {"precision": recipe.precision, **recipe.parameters},
                "model": str(model),
                "output": str(folder / _MODEL_FILE),
            },
            calibration,
            on_wait=gate.progress(f"building {cell.model} at {cell.precision} for {cell.backend}"),
        ).fields
    return facts


def reference_outputs(gate: Gate, task: Task) -> Sequence[Sample]:
    """Return the fp32 outputs on the reference backend, computed once on this host.

    Raises:
        InferbenchError: The reference backend cannot run here, or failed.
    """
    import numpy as np

    from pytest_inferbench.worker.protocol import pack_samples, unpack_samples

    cell = next(
        (
            cell
            for cell in gate.matrix_of(task.name, [REFERENCE_BACKEND], ["fp32"])
            if not cell.cannot_run
        ),
        None,
    )
    if cell is None:
        raise InferbenchError(
            "IB-206",
            f"the reference ({REFERENCE_BACKEND} at fp32) cannot run here, so nothing can be"
            " compared with it",
            "pip install 'pytest-inferbench[ort]'",
        )
    options = gate.settings.backends.get(REFERENCE_BACKEND, {})
    recipe = Recipe("reference", "fp32", {"backend": REFERENCE_BACKEND, **options})
    versions = gate.environments[cell.environment].distributions
    key = artifact_key(task.facts.sha256, recipe, task.data_sha256, versions)

    def build(folder: Path) -> Mapping[str, object]:
        from pytest_inferbench.cellrun import CellRun

        run = CellRun(gate, cell)
        try:
            arrays: Mapping[str, Any] = pack_samples(run.outputs)
            np.savez(folder / _OUTPUTS_FILE, **arrays)
        finally:
            run.close()
        return {"samples": len(task.inputs)}

    cached = gate.cache.get_or_build(key, {"model": task.name, "outputs": "reference"}, build)
    with np.load(cached.folder / _OUTPUTS_FILE, allow_pickle=False) as file:
        return unpack_samples({name: file[name] for name in file.files})
