"""Sizes for free dimensions: takes a model's inputs, gives whole shapes and why. Pure.

What a dimension means is guessed by its name and place; one name has one size in all inputs, and a
sum of names is the sum of their sizes. `scales` are tried in turn where a first guess does not run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

SCALES: tuple[Mapping[str, int], ...] = (
    {"side": 224, "length": 16, "samples": 16_000, "frames": 100},
    {"side": 640, "length": 77, "samples": 48_000, "frames": 3000},
    {"side": 32, "length": 128, "samples": 16_000, "frames": 1500},
    {"side": 512, "length": 8, "samples": 16_000, "frames": 80},
)
"""What each kind of dimension is given, guess by guess."""

_KINDS = {
    "side": ("height", "width", "h", "w", "side", "image_size", "img_size"),
    "length": ("sequence", "seq", "len", "length", "tokens", "token", "text", "s", "l", "t"),
    "samples": ("samples", "audio", "wave", "waveform"),
    "frames": ("frames", "frame", "time"),
}
_BATCH = ("batch", "n", "b", "bs", "batch_size")
_CHANNELS = ("channels", "channel", "c")
_WORD = re.compile(r"[a-z]+")
_MOST_CHANNELS = 4


class Input(Protocol):
    """What must be known of an input."""

    @property
    def name(self) -> str:
        """What the model calls it."""

    @property
    def shape(self) -> Sequence[int | str]:
        """Its sizes; a name or -1 where the size is free."""


@dataclass(frozen=True)
class Shapes:
    """Whole shapes of the inputs that must be given one.

    Attributes:
        shapes: By input.
        chosen: What each free dimension was given, in words.
    """

    shapes: Mapping[str, tuple[int, ...]]
    chosen: tuple[str, ...] = ()


def is_free(size: int | str) -> bool:
    """Whether a size of a declared shape is not fixed."""
    return not isinstance(size, int) or size < 1


def whole_shapes(inputs: Sequence[Input], scale: Mapping[str, int] = SCALES[0]) -> Shapes:
    """Return shapes for the inputs with a free dimension other than a batch in front."""
    known: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    chosen: dict[str, None] = {}
    for each in inputs:
        sizes = []
        for axis, size in enumerate(each.shape):
            if not is_free(size):
                sizes.append(int(size))
                continue
            given = _size(str(size), axis, each, known, scale)
            sizes.append(given)
            if axis or given != 1:
                word = str(size) if isinstance(size, str) else f"dimension {axis} of {each.name}"
                chosen[f"{word} = {given}"] = None
        if any(is_free(size) for size in each.shape[1:]):
            shapes[each.name] = tuple(sizes)
    return Shapes(shapes, tuple(chosen) if shapes else ())


def _size(
    name: str, axis: int, given: Input, known: dict[str, int], scale: Mapping[str, int]
) -> int:
    """Return the size of a free dimension; one name is one size."""
    parts = [part.strip() for part in name.split("+")]
    if len(parts) > 1:
        return sum(
            int(part) if part.isdecimal() else _size(part, axis, given, known, scale)
            for part in parts
        )
    if name == "-1":
        return _by_place(axis, given, scale)
    if name not in known:
        known[name] = _by_name(name, scale) or _by_place(axis, given, scale)
    return known[name]


def _by_name(name: str, scale: Mapping[str, int]) -> int | None:
    words = _WORD.findall(name.lower())
    if any(word in _BATCH for word in words):
        return 1
    if any(word in _CHANNELS for word in words):
        return 3
    for kind, names in _KINDS.items():
        if any(word in names for word in words):
            return scale[kind]
    return None


def _by_place(axis: int, given: Input, scale: Mapping[str, int]) -> int:
    rank = len(given.shape)
    if axis == 0:
        return 1
    if rank == 4:
        last = given.shape[-1]
        channels_last = isinstance(last, int) and 0 < last <= _MOST_CHANNELS
        return 3 if axis == (3 if channels_last else 1) else scale["side"]
    return scale["length"]
