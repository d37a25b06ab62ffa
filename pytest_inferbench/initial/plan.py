"""What the first settings say: plain facts, decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_inferbench.initial.guess import Guess


@dataclass(frozen=True)
class PlannedModel:
    """One model's table.

    Attributes:
        path: As the settings say it, relative to their folder.
        takes: Its inputs, in words; `gives` its outputs.
        guess: What it is taken for; None where it could not be read.
        shapes: Sizes of inputs with free dimensions.
        sizes: Why these, a line each.
        calibration: A folder of samples.
        data: A folder of samples; of a detector, its annotations.
        precisions: What it is asked for.
        about_precisions: Why not more.
        quantizable: Whether it has weights that int8 changes.
        left_out: Why it stands there as a comment; empty where it does not.
    """

    name: str
    path: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    guess: Guess | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    calibration: str | None = None
    data: str | None = None
    precisions: tuple[str, ...] = ("fp32",)
    about_precisions: str = ""
    quantizable: bool = False
    left_out: str = ""


@dataclass(frozen=True)
class Plan:
    """What the file says.

    Attributes:
        backends: Those that can run here, or would with the package that every cell needs.
        missing: The others, each with what it needs.
        notes: What else a reader should know, such as a tree that was not searched to its end.
    """

    models: tuple[PlannedModel, ...]
    backends: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[PlannedModel, ...]:
        """The models that are measured."""
        return tuple(model for model in self.models if not model.left_out)
