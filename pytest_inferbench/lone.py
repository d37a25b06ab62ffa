"""A gate of one model: takes a file and settings, gives it on the reference backend.

Its inputs are made up, so it needs neither data nor a project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.backends.catalog import REFERENCE_BACKEND

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.settings.schema import Settings

_SAMPLES = 4


def lone_gate(
    path: Path,
    hardware: Hardware,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    base: Settings | None = None,
) -> Gate:
    """Return a gate whose only cell is a model at fp32 on the reference backend.

    Args:
        path: The model's ONNX file.
        hardware: This machine.
        shapes: Whole shapes of inputs with free dimensions.
        base: Settings whose cache, lock and tolerances hold.
    """
    import msgspec

    from pytest_inferbench.gate import Gate
    from pytest_inferbench.options import Options
    from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings

    model = ModelSettings(path=path, task="tensors", shapes=dict(shapes or {}), samples=_SAMPLES)
    settings = msgspec.structs.replace(
        base or Settings(),
        models={path.stem: model},
        matrix=MatrixSettings(backends=(REFERENCE_BACKEND,), precisions=("fp32",)),
        environments={},
        backends={},
    )
    return Gate(settings, Options(), hardware)
