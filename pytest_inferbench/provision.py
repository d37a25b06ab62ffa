"""Artifacts and reference outputs: planned here, built in a worker, kept in the host's cache.

Takes a cell and its task; gives the file to run, or the outputs to compare with. Knows what to ask
for, not how it is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.artifacts.plan import Recipe, artifact_key, steps_for
from pytest_inferbench.backends.catalog import REFERENCE_BACKEND
from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.tasks import Sample, Task

_OUTPUTS_FILE = "outputs.npz"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


@dataclass(frozen=True)
class Artifact:
    """What a cell runs.

    Attributes:
        path: A file; a URL for a service.
        sha256: What identifies it in baselines and results; empty for a service.
        facts: What its last step told of it.
    """

    path: str
    sha256: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def provide(gate: Gate, cell: Cell, task: Task, cache: ArtifactCache | None = None) -> Artifact:
    """Return a cell's artifact: its source as it is, or what the steps make of it.

    Args:
        gate: What knows the environments.
        cell: What it is for.
        task: The cell's model.
        cache: Where it is kept, the host's own by default.

    Raises:
        InferbenchError: The model is unsound, no recipe makes this precision, or building failed.
    """
    info = gate.catalog[cell.backend]
    if info.source != "onnx":
        return task.source(info.source)
    quantization = task.model.quantization
    steps = steps_for(
        info.family,
        cell.precision,
        {
            **msgspec.structs.asdict(quantization),
            **info.recipe_options,
            "engine": users_options(gate.settings.backends.get(cell.backend, {})),
        },
        gate.environments[cell.environment].distributions,
    )
    made = Artifact(str(task.facts.path), task.facts.sha256)
    for recipe in steps:
        made = _made(gate, cell, task, recipe, made, cache or gate.cache)
    return made


def _made(
    gate: Gate, cell: Cell, task: Task, recipe: Recipe, source: Artifact, cache: ArtifactCache
) -> Artifact:
    """Return what a step makes of the one before it, built if this host has not built it yet."""
    environment = _environment_for(gate, cell, recipe)
    installed = gate.environments[environment].distributions
    versions = {name: installed[name] for name in recipe.keyed_by if name in installed}
    if recipe.on_device:
        versions |= {"hardware": cell.hardware, **_drivers(gate)}
    key = artifact_key(
        source.sha256, recipe, task.calibration_sha256 if recipe.calibrated else None, versions
    )

    def build(folder: Path) -> Mapping[str, object]:
        with gate.launch(environment, [recipe.module]) as worker:
            facts: Mapping[str, object] = worker.call(
                "build",
                {
                    "family": recipe.family,
                    "recipe": {"precision": recipe.precision, **recipe.parameters},
                    "model": source.path,
                    "output": str(folder / recipe.file_name),
                },
                task.calibration if recipe.calibrated else {},
                on_wait=gate.progress(
                    f"building {cell.model} at {cell.precision} for {cell.backend}"
                ),
            ).fields
        return facts

    describe = {"model": cell.model, "family": recipe.family, "precision": cell.precision}
    cached = cache.get_or_build(key, describe, build)
    return Artifact(
        str(cached.folder / recipe.file_name),
        cached.meta["files"][recipe.file_name]["sha256"],
        cached.meta["facts"],
    )


def _environment_for(gate: Gate, cell: Cell, recipe: Recipe) -> str:
    """Return where a step is built.

    Raises:
        InferbenchError: Nothing has what it takes (IB-412).
    """
    if recipe.place == "target":
        return cell.environment
    for name in ("default", cell.environment):
        installed = gate.environments[name].distributions
        if "onnx" in installed and not installed.keys().isdisjoint(_RUNTIMES):
            return name
    raise InferbenchError(
        "IB-412",
        f"{cell.precision} graphs are made with ONNX Runtime, which neither this Python nor"
        f" environments.{cell.environment} has",
        "pip install 'pytest-inferbench[ort]'",
    )


def _drivers(gate: Gate) -> dict[str, str]:
    facts = gate.hardware.facts
    return {name: facts[name] for name in ("nvidia_driver", "cuda_driver") if name in facts}


def reference_cell(gate: Gate, model: str) -> Cell:
    """Return the cell that every other one of a model is compared with.

    Raises:
        InferbenchError: The reference backend cannot run here.
    """
    for cell in gate.matrix_of(model, [REFERENCE_BACKEND], ["fp32"]):
        if not cell.cannot_run:
            return cell
    raise InferbenchError(
        "IB-206",
        f"the reference ({REFERENCE_BACKEND} at fp32) cannot run here, so nothing can be compared"
        " with it",
        "pip install 'pytest-inferbench[ort]'",
    )


def reference_outputs(gate: Gate, task: Task) -> Sequence[Sample]:
    """Return the fp32 outputs on the reference backend, computed once on this host.

    Raises:
        InferbenchError: The reference backend cannot run here, or failed.
    """
    import numpy as np

    from pytest_inferbench.worker.protocol import pack_samples, unpack_samples

    cell = reference_cell(gate, task.name)
    options = users_options(gate.settings.backends.get(REFERENCE_BACKEND, {}))
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
