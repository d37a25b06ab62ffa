"""Settings x environments -> cells.

Takes plain names and facts about environments; gives each cell with its markers and, if it cannot
run, the reason. Knows neither pytest nor files nor runtimes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pytest_inferbench.backends.catalog import CATALOG, BackendInfo


@dataclass(frozen=True)
class EnvironmentFacts:
    """What is known of an environment without importing anything in it.

    Attributes:
        name: `default`, or the name in the settings.
        backends: The backends it was declared for; empty means all that nobody else claims.
        distributions: Installed versions of the packages that backends need.
        cpu: The id of its CPU.
        gpus: The ids of its GPU classes.
        hardware: The id declared in the settings, if any: it overrides what was detected.
        python: The interpreter, for messages.
    """

    name: str
    distributions: Mapping[str, str]
    cpu: str
    gpus: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    hardware: str | None = None
    python: str = ""


@dataclass(frozen=True)
class Cell:
    """One model x backend x precision x hardware: what one test is parametrized over."""

    model: str
    backend: str
    precision: str
    hardware: str
    environment: str = "default"
    cannot_run: str | None = None
    extra_markers: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def id(self) -> str:
        """The cell's id in test ids, reports and the ledger."""
        return f"{self.model}-{self.backend}-{self.precision}-{self.hardware}"

    @cached_property
    def markers(self) -> frozenset[str]:
        """Every marker its tests carry."""
        return self.extra_markers | {self.precision, self.hardware}

    @property
    def baseline_key(self) -> str:
        """The cell's name inside its baseline file, where model and hardware are given."""
        return f"{self.backend} {self.precision}"

    def __str__(self) -> str:
        return f"{self.model} on {self.backend} at {self.precision} ({self.hardware})"


@dataclass(frozen=True)
class ModelAxes:
    """The part of the matrix that one model spans."""

    name: str
    backends: Sequence[str]
    precisions: Sequence[str]


# What each family's recipes can make in this version; the design's table says where this goes.
FAMILY_PRECISIONS: Mapping[str, frozenset[str]] = {
    "ort": frozenset({"fp32", "fp16", "int8"}),
}


def build_matrix(
    models: Sequence[ModelAxes], environments: Sequence[EnvironmentFacts]
) -> tuple[Cell, ...]:
    """Return every cell that was asked for, those that cannot run here included.

    Args:
        models: Each model with its backends and precisions.
        environments: The default environment first.
    """
    by_backend = {name: _environment_of(name, environments) for name in CATALOG}
    places = {name: list(_places(CATALOG[name], by_backend[name])) for name in CATALOG}
    return tuple(
        Cell(
            model=model.name,
            backend=backend,
            precision=precision,
            hardware=hardware,
            environment=by_backend[backend].name,
            cannot_run=reason or _unsupported(CATALOG[backend], precision),
            extra_markers=CATALOG[backend].markers,
        )
        for model in models
        for backend in model.backends
        for hardware, reason in places[backend]
        for precision in model.precisions
    )


def _environment_of(backend: str, environments: Sequence[EnvironmentFacts]) -> EnvironmentFacts:
    """A backend runs where it was declared to, else in the default environment."""
    return next((e for e in environments[1:] if backend in e.backends), environments[0])


def _places(info: BackendInfo, environment: EnvironmentFacts) -> Iterator[tuple[str, str | None]]:
    """Each hardware id a backend has there, with the reason if it cannot run on it."""
    if environment.hardware:
        found: Collection[str] = (environment.hardware,)
    elif info.device == "cpu":
        found = (environment.cpu,)
    elif info.device == "nvidia":
        found = environment.gpus
    else:
        found = ()
    reasons = _missing(info, environment, bool(found))
    for hardware in found or (f"no-{info.device}",):
        yield hardware, "; ".join(reasons) or None


def _missing(info: BackendInfo, environment: EnvironmentFacts, has_device: bool) -> list[str]:
    reasons = []
    if not has_device:
        device = {"nvidia": "NVIDIA GPU", "directml": "DirectML device", "coreml": "Apple device"}
        reasons.append(f"no {device.get(info.device, 'declared hardware')} here")
    if info.distributions and not any(d in environment.distributions for d in info.distributions):
        # what installing would not help with is not advised
        advice = f" (pip install 'pytest-inferbench[{info.extra}]')" if info.adapter else ""
        reasons.append(f"{info.distributions[0]} is not installed{advice}")
    if info.adapter is None:
        reasons.append(f"this version has no adapter for {info.name} yet (docs/backends.md)")
    return reasons


def _unsupported(info: BackendInfo, precision: str) -> str | None:
    supported = FAMILY_PRECISIONS.get(info.family, frozenset())
    if precision in supported:
        return None
    return f"no {precision} recipe for {info.name} in this version (docs/backends.md)"
