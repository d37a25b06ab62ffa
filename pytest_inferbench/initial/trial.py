"""Runs models once, so that what is written is known to run: takes models, gives shapes that do.

Each runs in a worker of its own on the reference backend, with made-up inputs, as a gate runs it.
Only the default environment is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.backends.catalog import REFERENCE_BACKEND
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.initial.sizes import SCALES, Shapes, whole_shapes
from pytest_inferbench.lone import lone_gate

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.inspect import ModelFacts
    from pytest_inferbench.hardware import Hardware


@dataclass(frozen=True)
class Tried:
    """What a model showed.

    Attributes:
        shapes: The inputs' shapes.
        difference: How much its outputs differ between made-up inputs, as a share of their size:
            the least of any output. Where that is little, rounding looks like a wrong answer.
        failure: Why it does not run whatever it is given; empty where it does.
    """

    shapes: Shapes
    difference: float = 0.0
    failure: str = ""


def try_models(
    models: Mapping[Path, ModelFacts], hardware: Hardware, say: Callable[[str], None]
) -> dict[Path, Tried]:
    """Return what each model showed when it was run once.

    Args:
        models: What is known of each.
        hardware: This machine.
        say: Is told what takes long.
    """
    found: dict[Path, Tried] = {}
    for number, (path, facts) in enumerate(models.items(), 1):
        say(f"trying {path.name} ({number} of {len(models)})")
        scales = SCALES if whole_shapes(facts.inputs).shapes else SCALES[:1]
        for scale in scales:
            tried = _tried(path, whole_shapes(facts.inputs, scale), hardware, say)
            if path not in found or not tried.failure:
                found[path] = tried
            if not tried.failure:
                break
    return found


def _tried(path: Path, shapes: Shapes, hardware: Hardware, say: Callable[[str], None]) -> Tried:
    """Run a model with these shapes."""
    gate = lone_gate(path, hardware, shapes.shapes)
    gate.say = say
    try:
        (cell,) = gate.cells
        run = gate.run_of(cell)
        with gate.host.shared(on_wait=gate.progress("waiting for the host")):
            return Tried(shapes, _difference([run.infer(sample) for sample in run.inputs]))
    except InferbenchError as error:
        why = f"it does not run on {REFERENCE_BACKEND}: [{error.code}] {error.message}"
        return Tried(shapes, failure=why)
    finally:
        gate.close()


def _difference(outputs: Sequence[Mapping[str, Any]]) -> float:
    """Return by how much outputs differ from their mean, as a share: the least of any output."""
    import numpy as np

    shares = []
    for name, first in outputs[0].items():
        if any(each[name].shape != first.shape for each in outputs):
            continue  # as many as were found: that differs
        stacked = np.stack([each[name] for each in outputs]).astype(np.float64)
        size = float(np.linalg.norm(stacked))
        apart = float(np.linalg.norm(stacked - stacked.mean(axis=0)))
        shares.append(apart / size if size > 0 and np.isfinite(apart) else 0.0)
    return min(shares, default=0.0)
