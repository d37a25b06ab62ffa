"""Artifacts and reference outputs: planned here, built in a worker, kept in the host's cache.

Takes a cell and its task; gives the file to run, or the outputs to compare with. Knows what to ask
for, not how it is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.artifacts.plan import Recipe, Steps, artifact_key, steps_for
from pytest_inferbench.backends.catalog import ORT_DISTRIBUTIONS, REFERENCE_BACKEND
from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.tasks.base import Sample, Task

_OUTPUTS_FILE = "outputs.npz"
_DRIVERS = ("nvidia_driver", "cuda_driver")
_REFUSED = frozenset({"IB-366", "IB-367"})
"""An adapter's word that an artifact belongs to another device or version, or is damaged."""

_NO_WORKER = frozenset({"IB-305", "IB-306"})


@dataclass(frozen=True)
class Artifact:
    """What a cell runs.

    Attributes:
        path: A file; a URL for a service.
        sha256: What identifies it in baselines and results; empty for a service.
        facts: What its last step told of it.
        beside: What belongs to a file, by the paths below its folder.
        built: Whether any of it was built, or sent to another host, just now.
    """

    path: str
    sha256: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    built: bool = field(default=False, compare=False)


def provide(
    gate: Gate,
    cell: Cell,
    task: Task,
    cache: ArtifactCache | None = None,
    *,
    renew: bool = False,
) -> Artifact:
    """Return a cell's artifact: its source as it is, or what the steps make of it.

    Args:
        gate: What knows the environments.
        cell: What it is for.
        task: The cell's model.
        cache: Where it is kept and looked for, the host's own by default; on another host, all
            that is built there is then built anew, beside what is kept.
        renew: Make the last step anew, in place of what is kept.

    Raises:
        InferbenchError: The model is unsound, no recipe makes this precision, or building failed.
    """
    made = _source(task, gate.catalog[cell.backend].source)
    steps = _steps(gate, cell, task)
    # Graphs come before what is built of them on the device.
    here = [step for step in steps if not _is_built_there(gate, cell, step)]
    for number, recipe in enumerate(here, 1):
        nth = f", step {number} of {len(steps)}" if len(steps) > 1 else ""
        last = renew and recipe is steps[-1]
        made = _made(gate, cell, task, recipe, made, cache or gate.cache, nth, renew=last)
    if gate.environments[cell.environment].host is None:
        return made
    there = steps[len(here) :]
    return _delivered(gate, cell, task, there, made, anew=cache is not None, renew=renew)


def renewed(gate: Gate, cell: Cell, task: Task, error: InferbenchError) -> Artifact | None:
    """Return a cell's artifact once more, where what was kept of it is why it did not open.

    That is so where the adapter says that it does not belong here or is damaged, and, whatever was
    said, where it is no longer what was written: it is built anew then, and the session told.

    Args:
        gate: What knows the environments.
        cell: What it is for.
        task: The cell's model.
        error: Why it did not open.

    Returns:
        None where it is as it was written, so that opening it again would end alike.

    Raises:
        InferbenchError: What was refused could not be built anew.
    """
    from pytest_inferbench.artifacts.cache import doubt

    if error.code in _NO_WORKER:
        return None
    doubt()
    refused = error.code in _REFUSED
    try:
        again = provide(gate, cell, task, renew=refused)
    except InferbenchError:
        if refused:
            raise
        return None  # the first error says more
    if refused and again.built:
        _tell_rebuilt(gate, cell, f"the backend refused what was kept ({error.message})")
    return again if again.built else None


def _tell_rebuilt(gate: Gate, cell: Cell, why: str) -> None:
    if why:
        gate.tell(f"{cell.model} at {cell.precision} for {cell.backend} was built anew: {why}")


def provide_step(gate: Gate, cell: Cell, task: Task, recipe: Recipe) -> Artifact:
    """Return what a single step makes of a model's ONNX file, from the host's cache or built.

    Raises:
        InferbenchError: The model is unsound, or building failed.
    """
    source = _source(task, "onnx")
    return _made(
        gate, cell, task, recipe, source, gate.cache, ", its layers one by one", renew=False
    )


def graph_of(gate: Gate, cell: Cell, task: Task) -> tuple[Artifact, Steps]:
    """Return the last graph on the way to a cell's artifact, on this host, and what follows it.

    A graph is an ONNX file or an OpenVINO IR; what follows makes something else of it, or makes it
    on another host. Where the source is no graph it is returned as it is.

    Raises:
        InferbenchError: As `provide`.
    """
    made, steps = _source(task, gate.catalog[cell.backend].source), _steps(gate, cell, task)
    count = 0
    for recipe in steps:
        if _is_built_there(gate, cell, recipe) or not recipe.file_name.endswith((".onnx", ".xml")):
            break
        made, count = _made(gate, cell, task, recipe, made, gate.cache, "", renew=False), count + 1
    return made, steps[count:]


def _steps(gate: Gate, cell: Cell, task: Task) -> Steps:
    info = gate.catalog[cell.backend]
    if info.source != "onnx":
        return ()
    return steps_for(
        info.family,
        cell.precision,
        {
            **msgspec.structs.asdict(task.model.quantization),
            **info.recipe_options,
            "engine": users_options(cell.backend, gate.settings.backends),
        },
        gate.environments[cell.environment].distributions,
    )


def _source(task: Task, kind: str) -> Artifact:
    if kind != "onnx":
        return task.source(kind)
    facts = task.facts
    folder = facts.path.parent
    beside = tuple(file.relative_to(folder).as_posix() for file in facts.external_files)
    return Artifact(str(facts.path), facts.sha256, beside=beside)


def _made(
    gate: Gate,
    cell: Cell,
    task: Task,
    recipe: Recipe,
    source: Artifact,
    cache: ArtifactCache,
    nth: str,
    *,
    renew: bool,
) -> Artifact:
    """Return what a step makes of the one before it, built if this host has not built it yet."""
    environment = _environment_for(gate, cell, recipe)
    what = f"{gate.nth(cell)}{_building(cell)}{nth}"

    def build(folder: Path) -> Mapping[str, object]:
        with gate.launch(environment, [recipe.module]) as worker:
            facts: Mapping[str, object] = worker.call(
                "build",
                {**build_fields(recipe, source.path), "output": str(folder / recipe.file_name)},
                task.calibration if recipe.calibrated else {},
                on_wait=gate.progress(what),
            ).fields
        return facts

    key = _key(gate, cell, task, recipe, source.sha256)
    if renew:
        cache.remove([key])
    waiting = gate.progress(f"{what}: another process does it")
    cached = cache.get_or_build(key, _describe(cell, recipe), build, waiting)
    _tell_rebuilt(gate, cell, _damage(cached.rebuilt_because))
    files = cached.meta["files"]
    return Artifact(
        str(cached.folder / recipe.file_name),
        files[recipe.file_name]["sha256"],
        cached.meta["facts"],
        tuple(sorted(files.keys() - {recipe.file_name})),
        built=cached.built or source.built,
    )


def _damage(found: str) -> str:
    return f"what was kept is damaged ({found})" if found else ""


def _delivered(
    gate: Gate,
    cell: Cell,
    task: Task,
    steps: Steps,
    source: Artifact,
    *,
    anew: bool,
    renew: bool,
) -> Artifact:
    """Return an artifact on the cell's own host: sent there, and the last steps built there."""
    from pytest_inferbench.remote import RemoteCache, RemoteEntry, remote_cache

    if not source.sha256:  # a service, which is where its URL says
        return source

    def sent(there: RemoteCache) -> RemoteEntry:
        file = Path(source.path)
        describe = {"model": cell.model, "sent": file.name}
        entry = there.send(file.parent, (file.name, *source.beside), describe)
        if entry.rebuilt_because:
            why = _damage(entry.rebuilt_because)
            gate.tell(f"{cell.model} was sent to environment {cell.environment} again: {why}")
        return entry

    doing = _building(cell) if steps else f"sending {cell.model} for {cell.backend}"
    what = f"{gate.nth(cell)}{doing}"
    with remote_cache(gate, cell.environment, what, [step.module for step in steps]) as there:
        made = replace(source, path="")  # not there yet
        for recipe in steps:
            key = _key(gate, cell, task, recipe, made.sha256)
            last = renew and recipe is steps[-1]
            entry = None if anew or last else there.find(key)
            if entry is None:
                model = made.path or str(sent(there).folder / Path(source.path).name)
                entry = there.build(
                    key,
                    _describe(cell, recipe),
                    recipe.file_name,
                    build_fields(recipe, model),
                    task.calibration if recipe.calibrated else {},
                    anew=anew,
                    in_place=last,
                )
                _tell_rebuilt(gate, cell, _damage(entry.rebuilt_because))
            made = Artifact(
                str(entry.folder / recipe.file_name),
                entry.sha256[recipe.file_name],
                entry.facts,
                built=entry.built or made.built,
            )
        if made.path:
            return made
        entry = sent(there)
        path = str(entry.folder / Path(source.path).name)
        return replace(made, path=path, built=entry.built or made.built)


def _key(gate: Gate, cell: Cell, task: Task, recipe: Recipe, source_sha256: str) -> str:
    facts = gate.environments[_environment_for(gate, cell, recipe)]
    installed = facts.distributions
    versions = {name: installed[name] for name in recipe.keyed_by if name in installed}
    if recipe.on_device:
        drivers = {name: facts.facts[name] for name in _DRIVERS if name in facts.facts}
        versions |= {"hardware": cell.hardware, **drivers}
    return artifact_key(
        source_sha256, recipe, task.calibration_sha256 if recipe.calibrated else None, versions
    )


def _building(cell: Cell) -> str:
    return f"building {cell.model} at {cell.precision} for {cell.backend}"


def _describe(cell: Cell, recipe: Recipe) -> dict[str, str]:
    return {"model": cell.model, "family": recipe.family, "precision": cell.precision}


def build_fields(recipe: Recipe, model: str) -> dict[str, object]:
    """Return what a worker's verb `build` is told of a step, its output apart."""
    parameters = {"precision": recipe.precision, **recipe.parameters}
    return {"family": recipe.family, "recipe": parameters, "model": model}


def _is_built_there(gate: Gate, cell: Cell, recipe: Recipe) -> bool:
    return gate.environments[_environment_for(gate, cell, recipe)].host is not None


def _environment_for(gate: Gate, cell: Cell, recipe: Recipe) -> str:
    """Return where a step is built.

    Raises:
        InferbenchError: Nothing has what it takes (IB-412).
    """
    if recipe.place == "target":
        return cell.environment
    for name in ("default", cell.environment):
        installed = gate.environments[name].distributions
        if "onnx" in installed and not installed.keys().isdisjoint(ORT_DISTRIBUTIONS):
            return name
    raise InferbenchError(
        "IB-412",
        f"{cell.precision} graphs are made with ONNX Runtime, which neither this Python nor"
        f" environments.{cell.environment} has",
        "pip install 'pytest-inferbench[ort]'",
    )


def reference_cell(gate: Gate, model: str) -> Cell:
    """Return the cell that every other one of a model is compared with.

    Raises:
        InferbenchError: The reference backend cannot run here.
    """
    for cell in gate.matrix_of(model, [REFERENCE_BACKEND], ["fp32"], on_this_host=True):
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
    options = users_options(REFERENCE_BACKEND, gate.settings.backends)
    kept = {"backend": REFERENCE_BACKEND, "outputs": "as numbers", **options}
    recipe = Recipe("reference", "fp32", kept)
    versions = gate.environments[cell.environment].distributions
    key = artifact_key(task.facts.sha256, recipe, task.data_sha256, versions)

    def build(folder: Path) -> Mapping[str, object]:
        from pytest_inferbench.cellrun import CellRun

        run = CellRun(gate, cell)
        try:
            arrays: Mapping[str, Any] = pack_samples(run.outputs)
            np.savez(folder / _OUTPUTS_FILE, **arrays)
        except InferbenchError as error:
            raise InferbenchError(
                error.code, f"the reference, {cell}, failed: {error.message}", error.hint
            ) from error
        finally:
            run.close()
        return {"samples": len(task.inputs)}

    cached = gate.cache.get_or_build(key, {"model": task.name, "outputs": "reference"}, build)
    if cached.rebuilt_because:
        gate.tell(f"the reference, {cell}, was computed anew: {_damage(cached.rebuilt_because)}")
    with np.load(cached.folder / _OUTPUTS_FILE, allow_pickle=False) as file:
        return unpack_samples({name: file[name] for name in file.files})
