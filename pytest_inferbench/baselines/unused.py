"""Which recorded cells nothing would be compared with today: takes settings, gives why. Pure.

A file's own hardware is taken at its word: that another machine is not at hand makes nothing
unused. What counts is what the settings still name: the model, its backends, its precisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferbench.onnx_cases import MODEL as CASES

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_inferbench.settings.schema import Settings


def why_unused(settings: Settings, model: str, cell: str) -> str | None:
    """Return why no cell of the settings is this recorded one; None if one is.

    Args:
        settings: With at least one model.
        model: The name of the model whose file it is in, or that of ONNX's own cases.
        cell: Its key in the file: backend and precision.
    """
    backend, _, precision = cell.rpartition(" ")
    if model == CASES:
        asked = {name for each in settings.models for name in settings.backends_of(each)}
        return _unnamed("no model", "backend", backend, asked)
    if model not in settings.models:
        return f"the settings have no model {model}"
    own = settings.models[model]
    of_backends = settings.backends_of(model)
    of_precisions = own.precisions or settings.matrix.precisions
    return _unnamed(model, "backend", backend, of_backends) or _unnamed(
        model, "precision", precision, of_precisions
    )


def _unnamed(whose: str, what: str, name: str, asked: Collection[str]) -> str | None:
    if name in asked:
        return None
    has = "has" if whose == "no model" else "no longer has"
    return f"{whose} {has} the {what} {name or '(none)'}"
