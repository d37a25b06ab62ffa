"""Optimization profiles: takes inputs and what the settings ask, gives ranges of shapes.

An engine takes shapes only within a range chosen when it is built. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.errors import InferbenchError

Shape = tuple[int, ...]

BATCH = (1, 1, 8)
"""Smallest, best and largest batch where a model's first dimension is open and nothing is asked."""

_PARTS = ("min", "opt", "max")


@dataclass(frozen=True)
class Profile:
    """The shapes an input may have; for an input that is itself a shape, its values."""

    min: Shape
    opt: Shape
    max: Shape

    def as_fields(self) -> dict[str, list[int]]:
        """Return plain types."""
        return {part: list(getattr(self, part)) for part in _PARTS}

    def fits(self, shape: Sequence[int]) -> bool:
        """Tell whether a shape lies within."""
        return len(shape) == len(self.min) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )

    def __str__(self) -> str:
        return " to ".join("x".join(map(str, shape)) or "scalar" for shape in (self.min, self.max))


def choose_profiles(
    inputs: Mapping[str, Shape], asked: Mapping[str, Any], values: Sequence[str] = ()
) -> dict[str, Profile]:
    """Return the range of every input that needs one.

    Args:
        inputs: The shape of every input as the graph declares it, -1 where it is open.
        asked: The option ``profiles``: ``min``, ``opt`` and ``max`` by input; ``opt`` may be left
            out and is then ``max``.
        values: Inputs that are shapes themselves: what is asked for them are their values.

    Raises:
        InferbenchError: IB-363 an input needs a range and has none; IB-364 what is asked does not
            fit the model.
    """
    for name in asked:
        if name not in inputs:
            raise _bad(name, "the model has no such input", f"It takes {', '.join(inputs)}.")
    chosen = {}
    for name, shape in inputs.items():
        if name in asked:
            chosen[name] = _asked(name, shape, asked[name], name in values)
        elif name in values:
            raise _missing(name, "is a shape, so what it may hold must be said", shape)
        elif -1 in shape[1:]:
            where = ", ".join(str(axis) for axis, size in enumerate(shape) if size == -1)
            raise _missing(name, f"has open dimensions (axes {where})", shape)
        elif shape[:1] == (-1,):
            chosen[name] = Profile(*((batch, *shape[1:]) for batch in BATCH))
    return chosen


def _asked(name: str, shape: Shape, asked: Any, is_values: bool) -> Profile:
    if not isinstance(asked, Mapping) or not {"min", "max"} <= set(asked) <= set(_PARTS):
        raise _bad(name, f"{asked!r} is no range", "Give it min and max, and opt if you like.")
    parts = {part: asked.get(part, asked["max"]) for part in _PARTS}
    for part, sizes in parts.items():
        if not isinstance(sizes, Sequence) or not all(type(size) is int for size in sizes):
            raise _bad(name, f"{part} is {sizes!r}, not a list of whole numbers")
        fixed = [] if is_values else [size for size in shape if size != -1]
        given = (
            []
            if is_values
            else [got for got, size in zip(sizes, shape, strict=False) if size != -1]
        )
        if (not is_values and len(sizes) != len(shape)) or given != fixed:
            raise _bad(name, f"{part} {list(sizes)} does not fit {list(shape)}")
    profile = Profile(*(tuple(parts[part]) for part in _PARTS))
    ordered = len({*map(len, parts.values())}) == 1 and all(
        low <= best <= high
        for low, best, high in zip(profile.min, profile.opt, profile.max, strict=True)
    )
    if not ordered or (not is_values and any(size < 0 for size in profile.min)):
        raise _bad(name, f"{profile.as_fields()} does not go from small to large")
    return profile


def _missing(name: str, why: str, shape: Shape) -> InferbenchError:
    example = [4 if size == -1 else size for size in shape]
    return InferbenchError(
        "IB-363",
        f"the input {name!r} {why}, and TensorRT builds an engine for a range of shapes",
        f'Say which: profiles = {{ "{name}" = {{ min = {example}, opt = {example},'
        f" max = {example} }} }} in the backend's settings.",
    )


def _bad(name: str, what: str, hint: str = "") -> InferbenchError:
    return InferbenchError("IB-364", f"the backend's setting profiles.{name}: {what}", hint)
