"""Runs models once, so that what is written is known to run: takes models, gives shapes that do.

Each runs in a worker of its own on the reference backend, with made-up inputs, as a gate runs it.
Only the default environment is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.backends.catalog import REFERENCE_BACKEND
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.initial.sizes import SCALES, Shapes, whole_shapes

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.inspect import ModelFacts
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.hardware import Hardware

_NAME = "model"


def try_models(
    models: Mapping[Path, ModelFacts], hardware: Hardware, say: Callable[[str], None]
) -> tuple[dict[Path, Shapes], dict[Path, str]]:
    """Return the shapes with which each model runs, and why the others do not.

    Args:
        models: What is known of each.
        hardware: This machine.
        say: Is told what takes long.
    """
    shapes: dict[Path, Shapes] = {}
    failures: dict[Path, str] = {}
    for number, (path, facts) in enumerate(models.items(), 1):
        say(f"trying {path.name} ({number} of {len(models)})")
        scales = SCALES if whole_shapes(facts.inputs).shapes else SCALES[:1]
        for scale in scales:
            guessed = whole_shapes(facts.inputs, scale)
            why = _why_not(path, guessed, hardware, say)
            if not why:
                shapes[path] = guessed
                failures.pop(path, None)
                break
            failures.setdefault(path, f"it does not run on {REFERENCE_BACKEND}: {why}")
    return shapes, failures


def _why_not(path: Path, guessed: Shapes, hardware: Hardware, say: Callable[[str], None]) -> str:
    """Return why a model does not run with these shapes; empty if it does."""
    gate = gate_of(path, guessed.shapes, hardware)
    gate.say = say
    try:
        (cell,) = gate.cells
        run = gate.run_of(cell)
        run.infer(run.inputs[0])
    except InferbenchError as error:
        return f"[{error.code}] {error.message}"
    finally:
        gate.close()
    return ""


def gate_of(path: Path, shapes: Mapping[str, tuple[int, ...]], hardware: Hardware) -> Gate:
    """Return a gate of one model on the reference backend, with made-up inputs."""
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.options import Options
    from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings

    model = ModelSettings(path=path, task="tensors", shapes=dict(shapes), samples=4)
    matrix = MatrixSettings(backends=(REFERENCE_BACKEND,), precisions=("fp32",))
    return Gate(Settings(models={_NAME: model}, matrix=matrix), Options(), hardware)
