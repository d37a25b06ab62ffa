"""Whom a cell is compared with: takes the options or a budget, gives the partner's run.

Knows neither how the two are timed nor how they are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.options import Options
    from pytest_inferbench.settings.schema import Settings
    from pytest_inferbench.settings.speedups import Speedup
    from pytest_inferbench.tasks import Task

AGAINST = "--inferbench-against"
"""The environment that the option makes; no name in the settings can begin so."""


_LOCAL = {
    ("onnxruntime", "cpu", ""): "ort-cpu",
    ("onnxruntime", "cpu", "openvino"): "ort-openvino",
    ("onnxruntime", "gpu", ""): "ort-cuda",
    ("onnxruntime", "gpu", "tensorrt"): "ort-trt",
    ("openvino", "cpu", ""): "openvino",
    ("tensorrt", "gpu", ""): "trt",
}
"""A server's runtime, device and accelerator -> the backend that is the same without a server."""


class NoPartnerError(Exception):
    """There is nobody to compare a cell with here; the text says why."""


class NoSuchPartnerError(NoPartnerError):
    """There is nobody to compare a cell with anywhere."""


@dataclass(frozen=True)
class Partner:
    """The other side of a comparison.

    Attributes:
        label: How to name it in a message.
    """

    run: CellRun
    label: str


def with_against(settings: Settings, options: Options) -> Settings:
    """Return the settings with the environment that `--inferbench-against` asks for.

    Raises:
        InferbenchError: It is neither an interpreter nor an environment (IB-212).
    """
    from pytest_inferbench.settings.schema import EnvironmentSettings

    if options.against is None or options.against in settings.environments:
        return settings
    python = _interpreter(options.against_python)
    if python is None:
        known = ", ".join(settings.environments) or "none"
        raise InferbenchError(
            "IB-212",
            f"{AGAINST} {options.against}: there is no such interpreter",
            "Give the path of a Python or of its virtual environment, or the name of an"
            f" environment of the settings (there is {known}).",
        )
    # it claims no backend: the matrix stays as it is
    made = EnvironmentSettings(backends=(AGAINST,), python=str(python))
    return msgspec.structs.replace(settings, environments={**settings.environments, AGAINST: made})


def check_against(settings: Settings, options: Options) -> None:
    """Refuse what cannot be meant.

    Raises:
        InferbenchError: Baselines would be recorded as well (IB-213); the old model is no file, or
            it is not said whose it is (IB-214).
    """
    if not options.compares:
        return
    if options.update is not None:
        raise InferbenchError(
            "IB-213",
            f"--update-baselines records, and {AGAINST} compares without a baseline",
            "Do one after the other.",
        )
    old = options.against_model
    if old is None:
        return
    if not old.is_file():
        raise InferbenchError("IB-214", f"{AGAINST}-model: there is no file {old}")
    if len(settings.models) != 1:
        raise InferbenchError(
            "IB-214",
            f"{AGAINST}-model gives one older file, and the settings have"
            f" {len(settings.models)} models: {', '.join(settings.models)}",
            "Use settings with the one model that it is of (--inferbench-settings).",
        )


def partner_against(run: CellRun) -> Partner:
    """Return the same cell in the other environment, of the older model, or both.

    Raises:
        NoPartnerError: It cannot run there.
        InferbenchError: The older model takes other inputs (IB-215).
    """
    gate, cell, options = run.gate, run.cell, run.gate.options
    labels = []
    if options.against is not None:
        cell = _in_environment(gate, cell, environment_against(gate))
        labels.append(options.against)
    task = None
    if options.against_model is not None:
        task = _older(run, options.against_model)
        labels.append(options.against_model.name)
    return Partner(_new_run(gate, cell, task), " with ".join(labels))


def environment_against(gate: Gate) -> str:
    """Return the name of the environment that `--inferbench-against` asks for."""
    asked = gate.options.against
    return asked if asked in gate.environments else AGAINST


def partner_of(run: CellRun, speedup: Speedup) -> Partner:
    """Return the cell that a speed-up is over, selected or not.

    Raises:
        NoPartnerError: It cannot run here.
    """
    gate, (backend, precision) = run.gate, speedup.partner
    cells = gate.matrix_of(run.cell.model, [backend], [precision], on_this_host=True)
    able = [cell for cell in cells if not cell.cannot_run]
    if not able:
        why = cells[0].cannot_run if cells else "its environment is on another host"
        raise NoPartnerError(f"{backend} at {precision} cannot run here: {why}")
    # of several devices the one that the candidate runs on, if it is among them
    cell = next((cell for cell in able if cell.hardware == run.cell.hardware), able[0])
    return Partner(_new_run(gate, cell, None), f"{backend} at {precision}")


def local_of(run: CellRun) -> Partner:
    """Return the cell that runs a served cell's artifact by the same runtime, without a server.

    Raises:
        NoSuchPartnerError: The runtime has no backend of its own.
        NoPartnerError: It cannot run here.
    """
    gate, cell = run.gate, run.cell
    options = {**run.info.options, **users_options(cell.backend, gate.settings.backends)}
    device, accelerator = options.get("device", "cpu"), options.get("accelerator", "")
    runtime = options.get("runtime", "onnxruntime")
    backend = _LOCAL.get((runtime, device, accelerator))
    if backend is None:
        raise NoSuchPartnerError(f"nothing but a server runs {runtime} models of this kind")
    cells = gate.matrix_of(cell.model, [backend], [cell.precision], on_this_host=True)
    able = [each for each in cells if not each.cannot_run]
    if not able:
        why = cells[0].cannot_run if cells else "its environment is on another host"
        raise NoPartnerError(f"{backend} at {cell.precision} cannot run here: {why}")
    local = next((each for each in able if each.hardware == cell.hardware), able[0])
    return Partner(_new_run(gate, local, None), f"{backend} at {cell.precision}")


def _new_run(gate: Gate, cell: Cell, task: Task | None) -> CellRun:
    from pytest_inferbench.cellrun import CellRun

    return CellRun(gate, cell, task)


def _interpreter(path: Path | None) -> Path | None:
    if path is None:
        return None
    if path.is_dir():  # a virtual environment
        path = path / "bin" / "python"
    return path if path.is_file() else None


def _in_environment(gate: Gate, cell: Cell, name: str) -> Cell:
    from pytest_inferbench.matrix import ModelAxes, build_matrix

    facts = gate.environments[name]
    here = gate.environments[cell.environment]
    if facts.host is not None or here.host is not None:
        host = facts.host or here.host
        raise NoPartnerError(f"{host} is another host, and two builds are compared on this one")
    axes = ModelAxes(
        cell.model, [cell.backend], [cell.precision], frozenset(gate.model(cell).sources)
    )
    cells = build_matrix([axes], [facts], gate.catalog)
    there = next((each for each in cells if each.hardware == cell.hardware), cells[0])
    if there.cannot_run:
        raise NoPartnerError(f"{there.backend} cannot run in {name}: {there.cannot_run}")
    return there


def _older(run: CellRun, path: Path) -> Task:
    from pytest_inferbench.tasks import make_task

    gate, name = run.gate, run.cell.model
    if run.info.source != "onnx":
        raise NoPartnerError(f"{run.cell.backend} does not run the ONNX file")
    older = msgspec.structs.replace(gate.settings.models[name], path=path)
    task = make_task(name, older, gate.cache, gate.say)
    wanted, given = (
        {spec.name: (spec.dtype, tuple(spec.shape)) for spec in facts.inputs}
        for facts in (run.task.facts, task.facts)
    )
    if wanted != given:
        raise InferbenchError(
            "IB-215",
            f"{path.name} takes {_inputs(given)}, and {run.cell.model} takes {_inputs(wanted)}:"
            " they cannot be given the same data",
        )
    return task


def _inputs(specs: dict[str, tuple[str, tuple[int | str, ...]]]) -> str:
    return ", ".join(f"{name}: {dtype} {list(shape)}" for name, (dtype, shape) in specs.items())
