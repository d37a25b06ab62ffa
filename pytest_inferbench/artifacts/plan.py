"""What to build: takes hashes, a precision, a family and versions; gives a recipe and its key.

Knows neither files nor runtimes nor where the cache is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_inferbench.errors import InferbenchError

REVISION = 2
"""Raised when any recipe changes what it builds, so that no older artifact is taken for it."""

METHODS = ("minmax", "entropy", "percentile")
_OPTIONS = ("method", "exclude")
_AS_IS = ("fp32", "tf32")
_BUILT: Mapping[str, tuple[str, ...]] = {"ort": ("fp16", "int8")}


@dataclass(frozen=True)
class Recipe:
    """How a model becomes an artifact.

    Attributes:
        family: The backend family whose recipes it is one of.
        precision: What the artifact computes in.
        parameters: Whatever else decides the result; plain JSON types.
    """

    family: str
    precision: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def as_is(self) -> bool:
        """Whether the artifact is the user's own file: nothing is built, nor copied."""
        return self.precision in _AS_IS


def recipe_for(family: str, precision: str, options: Mapping[str, object]) -> Recipe:
    """Return the recipe of a family for a precision.

    Args:
        family: A backend's family.
        precision: One of the precisions.
        options: ``method`` and ``exclude`` (names of nodes); they matter to int8 alone.

    Raises:
        InferbenchError: IB-410 the family has no such recipe; IB-411 an option is not known.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InferbenchError(
            "IB-411", f"recipes have no option {unknown[0]!r}", f"They have {', '.join(_OPTIONS)}."
        )
    if precision in _AS_IS:
        return Recipe(family, precision)
    if precision not in _BUILT.get(family, ()):
        made = (*_AS_IS, *_BUILT.get(family, ()))
        raise InferbenchError(
            "IB-410",
            f"no recipe makes {precision} for the backend family {family!r}",
            f"It has {', '.join(made)}; leave {precision} out of the model's precisions.",
        )
    return Recipe(family, precision, _int8(options) if precision == "int8" else {})


def artifact_key(
    model_sha256: str,
    recipe: Recipe,
    calibration_sha256: str | None,
    versions: Mapping[str, str],
) -> str:
    """Return what names an artifact: equal for equal arguments, in any order, on any machine."""
    content = {
        "revision": REVISION,
        "model": model_sha256,
        "family": recipe.family,
        "precision": recipe.precision,
        "parameters": dict(recipe.parameters),
        "calibration": calibration_sha256,
        "versions": dict(versions),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _int8(options: Mapping[str, object]) -> dict[str, object]:
    method, exclude = options.get("method", METHODS[0]), options.get("exclude", [])
    if method not in METHODS:
        raise InferbenchError(
            "IB-411",
            f"{method!r} is no method of calibration",
            f"The methods are {', '.join(METHODS)}.",
        )
    if not isinstance(exclude, (list, tuple)) or not all(isinstance(n, str) for n in exclude):
        raise InferbenchError(
            "IB-411", f"exclude must be a list of names of nodes, not {exclude!r}"
        )
    return {"method": method, "exclude": sorted(set(exclude))}
